"""What a proxy in front of the console does to requests, undone before anybody looks at them."""

from __future__ import annotations

from collections.abc import Collection

from tornado.httputil import HTTPServerRequest

from .settings import Settings, is_address


def undo(request: HTTPServerRequest, settings: Settings) -> None:
    """Make a request what the browser sent: without the prefix, and from the browser's address.

    A path without the prefix is left as it is: some proxies take it off themselves, and programs
    on the same machine ask without one.
    """
    path, prefix = request.path, settings.prefix
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        request.path = path[len(prefix) :] or "/"
    forwarded = request.headers.get("X-Forwarded-For", "")
    request.remote_ip = visitor(request.remote_ip or "", forwarded, settings.trusted_proxies)


def visitor(peer: str, forwarded: str, trusted: Collection[str]) -> str:
    """Return the address that a request comes from.

    :param peer: the address that the connection comes from
    :param forwarded: the header ``X-Forwarded-For``, to which each proxy appends the address that
        it saw; what is before that anybody can write
    :param trusted: the addresses of proxies that are believed
    """
    for address in reversed([each.strip() for each in forwarded.split(",")]):
        if peer not in trusted or not is_address(address):
            break
        peer = address
    return peer
