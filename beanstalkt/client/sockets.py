"""What both kinds of client do to sockets, and say of their errors."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..errors import InvalidArgument

if TYPE_CHECKING:
    import ssl  # takes long to import, and is needed for TLS alone

KEEPALIVE = {
    "TCP_KEEPIDLE": 60,  # seconds
    "TCP_KEEPINTVL": 15,  # seconds
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 120_000,  # milliseconds; for bytes that nobody acknowledges
}
"""Socket options by which a peer that is silently gone is noticed after two minutes."""


NO_HANDSHAKE = "the server accepted the connection but did not answer the TLS handshake"
"""Why an attempt has failed that got no further than the handshake."""

NO_HANDSHAKE_HINT = "is this its port for TLS?"
"""What to check then."""


def check_ssl_options(options: object) -> ssl.SSLContext | None:
    """Return the options of a TLS connection, None for another one; raise InvalidArgument."""
    if options is None:
        return None
    import ssl

    if not isinstance(options, ssl.SSLContext):
        raise InvalidArgument(
            "ssl_options must be None or an ssl.SSLContext, such as ssl.create_default_context(), "
            f"not {options!r:.100}"
        )
    return options


def tune(sock: socket.socket) -> None:
    """Send small packets at once, and notice a peer that is silently gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Which of these there are depends on the system.
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def reason_of(error: BaseException) -> str:
    """Return what the system says of an error, without its number."""
    if not isinstance(error, Exception):
        return f"interrupted by {type(error).__name__}"
    strerror = getattr(error, "strerror", None)
    return str(strerror or error) or type(error).__name__
