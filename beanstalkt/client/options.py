"""The options of a client that `from_url` passes on to its constructor."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from .timing import Timing

if TYPE_CHECKING:
    import ssl

    from tornado.ioloop import IOLoop


class BlockingOptions(TypedDict, total=False):
    """Hold options of :class:`beanstalkt.blocking.Client`, by name."""

    connect_timeout: float | None
    ssl_options: ssl.SSLContext | None
    reconnect_delay: float
    max_reconnect_delay: float | None
    response_timeout: float
    timing: Timing | None


class Options(BlockingOptions, total=False):
    """Hold options of :class:`beanstalkt.Client`, by name."""

    io_loop: IOLoop | None
