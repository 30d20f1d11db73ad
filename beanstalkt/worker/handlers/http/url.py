"""URLs that a job may name: parsed strictly, written in one form, compared by prefix. No I/O.

If two programs read a URL differently, a request can reach a host or a path that it must not. So
no URL is repaired here: one that has several readings (a user before the host, ``..``, an encoded
slash, a backslash, ``127.1``) is refused, and every other is written in one form.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

MAX_LENGTH = 8000
"""Characters of a URL at most. Few servers accept more."""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""Ports that a URL need not name, by scheme."""

# Control characters, spaces, surrogates, and the backslash, which some servers take for a slash.
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
"""How often the path is decoded for the check. A proxy may decode it once, and the application a
second time: none of these forms may lead out of the prefix."""


@dataclass(frozen=True)
class HTTPURL:
    """An absolute ``http`` or ``https`` URL, normalised. ``str(url)`` is what is requested.

    :ivar host: in lower case and ASCII, without a dot at its end; an IPv6 address is without its
        brackets
    :ivar path: begins with a slash
    :ivar query: without its ``?``; None: there is none
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @classmethod
    def parse(cls, text: str) -> HTTPURL:
        """Parse a URL. Raises ValueError."""
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
        """Return the URL without its query, which may be confidential, for the log."""
        return str(self).partition("?")[0]

    def under(self, prefix: HTTPURL) -> bool:
        """Return whether the URL is `prefix` or below it.

        ``/tasks/x`` is below ``/tasks``, and ``/tasks-of-others`` is not.
        """
        here = (self.scheme, self.host, self.port)
        if here != (prefix.scheme, prefix.host, prefix.port):
            return False
        folder = prefix.path if prefix.path.endswith("/") else prefix.path + "/"
        return self.path == prefix.path or self.path.startswith(folder)

    def names_private_host(self) -> bool:
        """Return whether the host is an address or ``localhost``."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        return ":" in self.host or bool(_NUMBER.fullmatch(self.host.rpartition(".")[2]))


def read_prefix(text: str) -> HTTPURL:
    """Parse a URL that allows the URLs below it. Raises ValueError."""
    url = HTTPURL.parse(text)
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
    """Return the name or address of a host in its normal form. Raises ValueError."""
    if text.startswith("["):
        # The meaning of a zone (%eth0) differs between machines.
        if "%" in text:
            raise ValueError("a URL's IPv6 address has no zone")
        return str(ipaddress.IPv6Address(text[1:-1]))
    name = (text if text.isascii() else _to_ascii(text)).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers, and names to others.
        return str(ipaddress.IPv4Address(name))
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text[:260]!r} is not the name of a host")
    return name


def _to_ascii(name: str) -> str:
    if len(name) > 253:  # encoding takes more than linear time
        raise ValueError("a host's name of more than 253 letters")
    try:
        import idna
    except ImportError:
        raise ValueError(f"write the host {name!r} in its ASCII form (xn--…)") from None
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"{name[:260]!r} is not the name of a host: {error}") from None


def _path(text: str) -> str:
    path = _encoded(text, _IN_A_PATH)
    try:
        _refuse_detours(path)
    except UnicodeDecodeError:
        raise ValueError("what is percent-encoded in a URL's path must be UTF-8") from None
    return path or "/"


def _encoded(text: str, safe: str) -> str:
    """Return the text with exactly those characters percent-encoded that must be."""

    def one(found: re.Match[str]) -> str:
        digits = found[1] or ""
        if not re.fullmatch("[0-9A-Fa-f]{2}", digits):
            raise ValueError("a % in a URL is followed by two hexadecimal digits")
        letter = chr(int(digits, 16))
        return letter if letter in _UNRESERVED else f"%{digits.upper()}"

    return _PERCENT.sub(one, quote(text, safe=safe + "%"))


def _refuse_detours(path: str) -> None:
    for _ in range(_DECODINGS):
        # Some servers cut off the parameters after a ; before they resolve the dots.
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
