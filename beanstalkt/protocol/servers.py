"""Several servers: their names, addresses and weights, and how they are written.

A list of servers is ``a=beanstalk://10.0.0.1 b=beanstalk://10.0.0.2:11301?weight=3``: a name and
``=`` before each URL, and ``?weight=`` after one that is to get more jobs, or fewer, than the
others. Without a name, a server is called by its host and port, or the name of its socket's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..errors import InvalidArgument
from .address import Address
from .arguments import JOB_ID, Number, parse_whole

WEIGHT = Number("weight", 1000)
"""The weight of a server: 0 gives it no jobs but those with a key that all others refuse."""

_NAME = re.compile(r"[A-Za-z0-9_.:+\[\]-]{1,100}")
_NAME_RULE = "use 1 to 100 of the characters A-Z a-z 0-9 _ . : + - [ ]"


@dataclass(frozen=True)
class Server:
    """Describe one of several servers. Raises InvalidArgument.

    :ivar name: what ids of its jobs begin with; where jobs with a key go depends on it, and not on
        the address
    :ivar weight: the share of jobs that it gets, compared with the weights of the others
    """

    name: str
    address: Address
    weight: int = 1

    def __post_init__(self) -> None:
        check_name(self.name)
        WEIGHT.check(self.weight)

    @property
    def url(self) -> str:
        """Return the URL of its address."""
        return str(self.address)

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read ``URL``, ``NAME=URL`` or ``NAME=URL?weight=NUMBER``. Raises InvalidArgument."""
        if not isinstance(text, str):
            raise InvalidArgument(f"a server must be a str, not {type(text).__name__}")
        name, equals, url = text.partition("=")
        named = bool(equals) and "://" not in name  # else the = is one of the URL
        url, query, weight = (url if named else text).partition("?weight=")
        address = Address.parse(url)
        if not named:
            name = name_of(address)
        return cls(name, address, WEIGHT.parse(weight) if query else 1)

    def __str__(self) -> str:
        weight = "" if self.weight == 1 else f"?weight={self.weight}"
        return f"{self.name}={self.address}{weight}"


def check_name(name: object) -> None:
    """Raise InvalidArgument unless a server can be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(f"bad name of a server {name!r:.120}: {_NAME_RULE}")


def name_of(address: Address) -> str:
    """Return the name of a server for which none is given."""
    if address.path is not None:
        return re.sub(r"[^A-Za-z0-9_.:+-]", "_", address.path.rpartition("/")[2])[:100] or "unix"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def names_one(text: str) -> bool:
    """Return whether a text is meant as the URL of one server, without a name or a weight."""
    first, equals, _ = text.partition("=")
    several = any(separator in text.strip() for separator in (",", " ", "\n", "\t"))
    return not several and (not equals or ("://" in first and "?weight" not in first))


def urls_of(text: str) -> dict[str, str]:
    """Return the URLs of one server or of a list by what they are called.

    A server that is given by its URL alone is called by that URL. Raises InvalidArgument.
    """
    if names_one(text):
        return {text: text}
    return {server.name: server.url for server in parse_servers(text)}


def called(text: str) -> str:
    """Return the URL of one server without a name, or the names of a list."""
    return " ".join(urls_of(text))


def known_as(text: str) -> tuple[str, ...]:
    """Return what a server may be called where it had no name: its URL, or its host and port.

    Whatever is neither has no other name.
    """
    try:
        if "://" in text:
            address = Address.parse(text)
        elif ":" in text:
            address = Address.parse(f"beanstalk://{text}")
        else:
            return (text,)
    except InvalidArgument:
        return (text,)
    return tuple(dict.fromkeys((text, str(address), name_of(address))))


def parse_servers(text: str) -> tuple[Server, ...]:
    """Read a list of servers with spaces or commas in between. Raises InvalidArgument."""
    return servers_of(text.replace(",", " ").split())


def servers_of(given: str | Mapping[str, str] | Iterable[str | Server]) -> tuple[Server, ...]:
    """Return the servers of a list as text, of a dict of URLs by name, or of an iterable of both.

    Raises InvalidArgument, also for no server, and for two of the same name.
    """
    if isinstance(given, str):
        return parse_servers(given)
    if isinstance(given, Mapping):
        found = [replace(Server.parse(url), name=name) for name, url in given.items()]
    else:
        try:
            each = iter(given)
        except TypeError:
            raise InvalidArgument(
                "servers must be a dict of URLs by name, or a list of URLs, "
                f"not {type(given).__name__}"
            ) from None
        found = [server if isinstance(server, Server) else Server.parse(server) for server in each]
    if not found:
        raise InvalidArgument("no server is given")
    names: set[str] = set()
    for server in found:
        if server.name in names:
            raise InvalidArgument(
                f"two servers are called {server.name!r}: give each a name of its own, NAME=URL"
            )
        names.add(server.name)
    return tuple(found)


def as_text(given: str | Mapping[str, str] | Iterable[str | Server]) -> str:
    """Return the URL of the one server that is given, or the list of several.

    Raises InvalidArgument.
    """
    if isinstance(given, str) and names_one(given):
        return str(Address.parse(given))
    return " ".join(str(server) for server in servers_of(given))


def parse_job_id(text: str) -> tuple[str, int]:
    """Return the name of the server and the number in an id like ``a/17``.

    Raises InvalidArgument.
    """
    if isinstance(text, str):
        name, slash, number = text.rpartition("/")
        if slash and name:
            return name, JOB_ID.check(parse_whole(number))
    raise InvalidArgument(
        f"with several servers the id of a job is its server's name and its number, such as "
        f"'a/17', not {text!r:.120}"
    )
