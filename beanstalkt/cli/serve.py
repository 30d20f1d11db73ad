"""``python -m beanstalkt.cmd serve``: the embedded server as a program."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal

from ..server.engine import DEFAULT_MAX_JOB_SIZE
from ..server.listener import MAX_JOB_SIZE_LIMIT, Server
from .stdio import say

EXIT_CANNOT_LISTEN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``serve``."""
    parser.description = (
        "Run an embedded beanstalkd for development and tests. It keeps its jobs in memory: "
        "they are gone when it ends. SIGUSR1: take no more jobs. SIGTERM, SIGINT: end."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=11300,
        help="the port to listen on; 0: any that is free (default: %(default)s)",
    )
    parser.add_argument(
        "--unix", metavar="PATH", help="listen on a unix socket at PATH, and on no port"
    )
    parser.add_argument(
        "--max-job-size",
        type=_job_size,
        default=DEFAULT_MAX_JOB_SIZE,
        metavar="BYTES",
        help="the largest body that a job may have (default: %(default)s)",
    )


def main(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. The exit status: 0, or 1 where it cannot listen."""
    return asyncio.run(_serve(options))


def _port(text: str) -> int:
    return _number(text, 65535)


def _job_size(text: str) -> int:
    return _number(text, MAX_JOB_SIZE_LIMIT)


def _number(text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= limit):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {limit}, not {text!r}")
    return int(text)


async def _serve(options: argparse.Namespace) -> int:
    _allow_many_connections()
    server = Server(max_job_size=options.max_job_size)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before it says that it listens: whoever has read that may send signals.
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, _drain, server)
    try:
        if options.unix is not None:
            server.listen_unix(options.unix)
        else:
            server.listen(options.port, options.host)
    except (OSError, OverflowError, UnicodeError) as error:
        where = options.unix if options.unix is not None else f"{options.host}:{options.port}"
        _say(f"cannot listen on {where}: {error}")
        server.stop()
        return EXIT_CANNOT_LISTEN
    try:
        _say(f"listening on {server.url}, keeping jobs in memory only")
        await ended.wait()
    finally:
        server.stop()
    return 0


def _drain(server: Server) -> None:
    server.drain()
    _say("draining: no more jobs are taken")


def _allow_many_connections() -> None:
    """Each connection is a file descriptor, and the usual limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A convenience: where it is refused, the server tells when it runs out.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(text: str) -> None:
    say(text, f"beanstalkt[{os.getpid()}]")
