"""The address of a server: a host and port, with or without TLS, or a unix socket."""

from __future__ import annotations

import ipaddress
import os
import sys
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ..errors import InvalidArgument

DEFAULT_PORT = 11300
"""The TCP port that a server listens on unless it is told otherwise (section 1.1)."""

_SHOWN = 260  # characters of a bad host that its message repeats; a name has 253 at most

LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""The number of bytes that the system takes as the path of a unix socket."""

_NOT_IN_HOSTS = frozenset(" ,=@?#")
"""What is in no name of a host, and stands for something in URLs and lists of servers."""


@dataclass(frozen=True)
class Address:
    """Hold the address of a server; with a `path` it is a unix socket, without host and port.

    Raises InvalidArgument for what cannot be an address.
    """

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        # A host that no look-up accepts is refused now: later, no caller would hear of it.
        if not _is_host(self.host):
            raise InvalidArgument(
                f"the host must be a name or an IP address, not {self.host!r:.{_SHOWN}}"
            )
        if "/" in self.host or (":" in self.host and not _is_ipv6(self.host)):
            raise InvalidArgument(
                "the host must be a name or an IP address without a port, "
                f"not {self.host!r:.{_SHOWN}}{_advice(self.host)}"
            )
        if self.path is not None and not _is_path(self.path):
            raise InvalidArgument(f"a unix socket must be the path of a file, not {self.path!r}")
        if self.path is not None and len(os.fsencode(self.path)) > LONGEST_PATH:
            raise InvalidArgument(
                f"the path of a unix socket may have {LONGEST_PATH} bytes at the most, which "
                f"{self.path!r:.{_SHOWN}} exceeds: use a relative path, or a link to its folder"
            )
        if not isinstance(self.port, int) or isinstance(self.port, bool):
            raise InvalidArgument(f"the port must be an int, not {self.port!r}")
        if not 0 < self.port < 2**16:
            raise InvalidArgument(f"the port must be from 1 to 65535, not {self.port}")

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read the URL ``beanstalk://host:port``, ``beanstalks://host:port`` or ``unix:///path``.

        ``beanstalks`` means TLS. An IPv6 address stands in brackets; the port is 11300 unless it
        is given. Raises InvalidArgument.
        """
        if not isinstance(url, str):
            raise InvalidArgument(f"a URL must be a str, not {type(url).__name__}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidArgument(f"bad URL {url!r}: {error}") from None
        if parts.query or parts.fragment:
            raise InvalidArgument(f"bad URL {url!r}: leave out what follows the address")
        if parts.scheme == "unix":
            if parts.netloc or len(parts.path) < 2:
                raise InvalidArgument(f"bad URL {url!r}: write unix:///path")
            return cls(path=_unquote(parts.path))
        if parts.scheme not in ("beanstalk", "beanstalks"):
            meant = _url_meant(url)
            hint = "" if meant is None else f", such as {meant!r:.{_SHOWN}}"
            raise InvalidArgument(
                f"bad URL {url!r:.{_SHOWN}}: it must begin with beanstalk://, beanstalks:// or "
                f"unix:///{hint}"
            )
        if not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/"):
            raise InvalidArgument(f"bad URL {url!r}: write {parts.scheme}://host:port")
        return cls(
            parts.hostname,
            DEFAULT_PORT if port is None else port,
            tls=parts.scheme == "beanstalks",
        )

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{quote(os.fsencode(self.path))}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"beanstalk{'s' if self.tls else ''}://{host}:{self.port}"


def path_of(unix_path: str | os.PathLike[str] | None) -> str | None:
    """Return the path of a unix socket, which may be given as a `pathlib.Path`, as a str."""
    return os.fspath(unix_path) if isinstance(unix_path, os.PathLike) else unix_path


def parse_host_and_port(text: str) -> tuple[str, int]:
    """Read an address to listen on: ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT`` for loopback.

    Raises InvalidArgument.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not digits or int(port) >= 2**16 or bracketed != (":" in host):
        raise InvalidArgument(f"HOST:PORT is expected, such as 127.0.0.1:9115, not {text!r}")
    return host or "127.0.0.1", int(port)


def _unquote(path: str) -> str:
    """Return the name of a file, which need not be UTF-8."""
    try:
        return os.fsdecode(unquote_to_bytes(os.fsencode(path)))
    except UnicodeError:
        raise InvalidArgument(f"a unix socket must be the path of a file, not {path!r}") from None


def _is_host(host: object) -> bool:
    if not isinstance(host, str) or not host or not host.isprintable():
        return False
    if not _NOT_IN_HOSTS.isdisjoint(host):
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _advice(host: str) -> str:
    """Return how to give the address that was probably meant by what was given as a host."""
    url = _url_meant(host)
    if url is None:
        return ""
    if url == host:
        how = "give a URL"
    elif host.startswith("/"):
        how = f"give the URL of a unix socket, {url!r:.{_SHOWN}},"
    else:
        how = f"give the port by itself, or the URL {url!r:.{_SHOWN}}"
    return f": {how} to Client.from_url (--server, or server = in a file)"


def _url_meant(text: str) -> str | None:
    """Return the URL that was probably meant by what is a host, a path or a URL; None: none."""
    if "://" in text:
        url = text
        if not text.startswith(("beanstalk://", "beanstalks://", "unix://")):
            return None
    else:
        url = f"unix://{text}" if text.startswith("/") else f"beanstalk://{text}"
    try:
        Address.parse(url)
    except InvalidArgument:
        return None
    return url


def _is_path(path: object) -> bool:
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        os.fsencode(path)
    except UnicodeError:
        return False
    return True
