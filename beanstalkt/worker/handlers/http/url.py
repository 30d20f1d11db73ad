"""URLs that a job may name: read strictly, written in one form, compared by prefix. No I/O.

Two programs that read one URL differently are how a request gets to where it must not. So
nothing here is repaired: what has more than one reading (a user before the host, ``..``, a slash
that is encoded, a backslash, ``127.1``) is refused, and what is left is written in one way.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

MAX_LENGTH = 8000
"""Characters of a URL. No server is sure to take more."""

DEFAULT_PORTS = {"http": 80, "https": 443}

# Control characters and spaces, halves of characters, and what some servers take for a slash.
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\\]")
_SHAPE = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PERCENT = re.compile(r"%(..?)?")

_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_IN_A_PATH = "!$&'()*+,;=:@/"
_IN_A_QUERY = _IN_A_PATH + "?"

_DECODINGS = 3
"""How often one thing may be percent-encoded in a path. A proxy decodes it, and the application
behind it does again: a way out of the prefix must show at none of these steps."""


@dataclass(frozen=True)
class Url:
    """An absolute ``http`` or ``https`` URL, normalised. As a str it is what is requested.

    :ivar host: in lower case and ASCII, without a dot at its end; of an IPv6 address without
        its brackets
    :ivar path: begins with a slash
    :ivar query: without its ``?``; None: there is none
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read a URL. Raises ValueError, with a message for whoever wrote it."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a URL of more than {MAX_LENGTH} characters")
        if _NEVER.search(text):
            raise ValueError("a URL holds no spaces, control characters or backslashes")
        found = _SHAPE.fullmatch(text)
        if not found:
            raise ValueError("a URL that begins with http:// or https:// is expected")
        if found[5] is not None:
            raise ValueError("a URL to request has no fragment (#…)")
        scheme = found[1].lower()
        host, port = _authority(found[2])
        query = None if found[4] is None else _encoded(found[4], _IN_A_QUERY)
        return cls(scheme, host, port or DEFAULT_PORTS[scheme], _path(found[3]), query)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        query = "" if self.query is None else f"?{self.query}"
        return f"{self.scheme}://{host}{port}{self.path}{query}"

    def without_query(self) -> str:
        """For the log: a query may hold what is nobody's business."""
        return str(self).partition("?")[0]

    def under(self, prefix: Url) -> bool:
        """Whether it is at `prefix` or below it: ``/tasks`` has ``/tasks/x`` below it, and not
        ``/tasks-of-others``."""
        here = (self.scheme, self.host, self.port)
        if here != (prefix.scheme, prefix.host, prefix.port):
            return False
        folder = prefix.path if prefix.path.endswith("/") else prefix.path + "/"
        return self.path == prefix.path or self.path.startswith(folder)

    def names_private_host(self) -> bool:
        """Whether whoever wrote this host's name must have known where it leads: an address, or
        this very machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        return ":" in self.host or bool(_NUMBER.fullmatch(self.host.rpartition(".")[2]))


def prefix(text: str) -> Url:
    """A URL below which others are allowed. Raises ValueError."""
    url = Url.parse(text)
    if url.query is not None:
        raise ValueError("a prefix of URLs has no query (?…)")
    return url


def _authority(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise ValueError(
            "a URL holds no user or password: credentials belong in the configuration"
        )
    found = _AUTHORITY.fullmatch(text)
    if not found:
        raise ValueError("a URL's host and port cannot be read")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("a URL's port is from 1 to 65535")
    return read_host(found[1]), port


def read_host(text: str) -> str:
    """A host's name or address in its one form. Raises ValueError."""
    if text.startswith("["):
        # With a zone (%eth0) it would mean another thing on each machine.
        if "%" in text:
            raise ValueError("a URL's IPv6 address has no zone")
        return str(ipaddress.IPv6Address(text[1:-1]))
    name = (text if text.isascii() else _to_ascii(text)).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers, and names to others.
        return str(ipaddress.IPv4Address(name))
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text[:260]!r} is no host's name")
    return name


def _to_ascii(name: str) -> str:
    if len(name) > 253:  # before work that grows faster than the name
        raise ValueError("a host's name of more than 253 letters")
    try:
        import idna
    except ImportError:
        raise ValueError(f"write the host {name!r} in its ASCII form (xn--…)") from None
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"{name[:260]!r} is no host's name: {error}") from None


def _path(text: str) -> str:
    path = _encoded(text, _IN_A_PATH)
    try:
        _refuse_detours(path)
    except UnicodeDecodeError:
        raise ValueError("what is percent-encoded in a URL's path must be UTF-8") from None
    return path or "/"


def _encoded(text: str, safe: str) -> str:
    """With everything encoded that must be, and nothing that need not be."""

    def one(found: re.Match[str]) -> str:
        digits = found[1] or ""
        if not re.fullmatch("[0-9A-Fa-f]{2}", digits):
            raise ValueError("a % in a URL is followed by two hexadecimal digits")
        letter = chr(int(digits, 16))
        return letter if letter in _UNRESERVED else f"%{digits.upper()}"

    return _PERCENT.sub(one, quote(text, safe=safe + "%"))


def _refuse_detours(path: str) -> None:
    for _ in range(_DECODINGS):
        # Some servers cut the parameters behind a ; off before they resolve the dots.
        if any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
            raise ValueError("a URL's path holds no . or .. between its slashes")
        decoded = unquote(path, errors="strict")
        if decoded.count("/") != path.count("/") or _hidden(decoded):
            raise ValueError("a URL's path holds no encoded slash, backslash or control character")
        if decoded == path:
            return
        path = decoded
    raise ValueError(f"a URL's path is percent-encoded more than {_DECODINGS - 1} times")


def _hidden(path: str) -> bool:
    return any(letter == "\\" or letter < " " or "\x7f" <= letter < "\xa0" for letter in path)
