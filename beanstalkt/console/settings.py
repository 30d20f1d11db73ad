"""What the console is told when it is started, and the checks of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InvalidArgument
from ..protocol.address import Address

DEFAULT_PORT = 11380
"""The TCP port of the console, unless it is told otherwise."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""The names by which a browser on the same machine reaches the console."""

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """Hold everything that configures a console.

    Raises InvalidArgument for what is wrong or unsafe: an address that other machines can reach
    needs a password or a token.

    :ivar servers: the URL of each server, by the name that the console calls it
    :ivar host: the address to listen on
    :ivar port: the TCP port to listen on; 0 for any free one
    :ivar password: what a person must type to see anything; None: nobody is asked
    :ivar token: what a program must send as ``Authorization: Bearer TOKEN``; None: there is none
    :ivar allowed_hosts: further names by which browsers may reach the console
    :ivar prefix: what the paths of all addresses begin with, such as ``/queues``, where a proxy
        has more than the console behind one name; empty: nothing
    :ivar trusted_proxies: the addresses of proxies whose ``X-Forwarded-For`` tells who asks
    :ivar read_only: refuse everything that would change a server
    :ivar interval: seconds between two samples of a server
    :ivar runners: the URL of each runner that serves its metrics, by name
    :ivar action_log: the file to which each action is appended as a line of JSON; None: none
    :ivar certificate: the file of a TLS certificate in PEM, with its key; None: plain HTTP
    :ivar key: the file of its key, where it is not in the same file
    """

    servers: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    prefix: str = ""
    trusted_proxies: tuple[str, ...] = ()
    read_only: bool = False
    interval: float = 2.0
    runners: Mapping[str, str] = field(default_factory=dict)
    action_log: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if not self.servers:
            raise InvalidArgument("the console needs at least one server")
        for name, url in self.servers.items():
            check_name(name)
            Address.parse(url)
        for name in self.runners:
            check_name(name)
        if not _PREFIX.fullmatch(self.prefix) or {".", ".."} & {*self.prefix.split("/")}:
            raise InvalidArgument(
                f"the prefix {self.prefix!r} must begin with a slash and not end with one, as in "
                "/queues"
            )
        for address in self.trusted_proxies:
            if not is_address(address):
                raise InvalidArgument(
                    f"a trusted proxy is named by its IP address, not by {address!r}"
                )
        if self.password is not None and not self.password:
            raise InvalidArgument("the password must not be empty")
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise InvalidArgument(f"the token must have at least {MIN_TOKEN} characters")
        if not self.needs_login and not is_loopback(self.host):
            raise InvalidArgument(
                f"other machines can reach {self.host}: set a password or a token, or listen on "
                "127.0.0.1"
            )

    @property
    def needs_login(self) -> bool:
        """Whether nothing is shown without a password or token."""
        return self.password is not None or self.token is not None

    def host_names(self) -> frozenset[str]:
        """Return every name that a request may give as its host, in lower case."""
        names = {*LOOPBACK_NAMES, *self.allowed_hosts}
        if not _is_any(self.host):
            names.add(self.host)
        return frozenset(name.lower().strip("[]") for name in names)


MIN_TOKEN = 16
"""The characters of a token at least: it cannot be slowed down as well as a password."""


def check_name(name: str) -> None:
    """Raise InvalidArgument unless a server or runner may have this name."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"the name {name!r} must be 1 to 64 letters, digits, dots, hyphens and underscores, "
            "and begin with a letter or digit"
        )


def is_address(text: str) -> bool:
    """Return whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    """Return whether `host` stands for every address of the machine, and so is no name of it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return not host
