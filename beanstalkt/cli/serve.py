"""The verb serve: the embedded server as a program."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal

from ..client.sockets import reason_of
from ..protocol.address import DEFAULT_PORT
from ..protocol.arguments import Number
from ..server.engine import DEFAULT_MAX_JOB_SIZE
from ..server.listener import MAX_JOB_SIZE_LIMIT, Server
from .converters import number
from .exit_status import DONE, REFUSED
from .stdio import say
from .verbs import Verb

DESCRIPTION = """\
Run an embedded beanstalkd for development and tests. It keeps jobs in memory: they
are gone when it stops. SIGUSR1 makes it refuse new jobs; SIGTERM or SIGINT stop it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument(
        "-H", "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "-P",
        "--port",
        type=number(Number("port", 2**16 - 1)),
        default=DEFAULT_PORT,
        help="the port to listen on, or 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--unix", metavar="PATH", help="listen on a unix socket at PATH instead of a port"
    )
    parser.add_argument(
        "--max-job-size",
        type=number(Number("job size", MAX_JOB_SIZE_LIMIT)),
        default=DEFAULT_MAX_JOB_SIZE,
        metavar="BYTES",
        help="the size of the largest body that a job may have (default: %(default)s)",
    )


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status, 1 if the server cannot listen."""
    return asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    _allow_many_connections()
    server = Server(max_job_size=options.max_job_size)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the message that the server listens: after that, others may send signals.
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
        _say(f"cannot listen on {where}: {reason_of(error)}")
        server.stop()
        return REFUSED
    try:
        _say(f"listening on {server.url}, keeping jobs in memory only")
        await ended.wait()
    finally:
        server.stop()
    return DONE


def _drain(server: Server) -> None:
    server.drain()
    _say("draining: new jobs are refused")


def _allow_many_connections() -> None:
    """Raise the limit on open files: each connection is one, and the usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # If the system refuses, the server still works, and logs a warning when it runs out of them.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(text: str) -> None:
    say(text, f"beanstalkt[{os.getpid()}]")


VERBS = {
    "serve": Verb(
        serve,
        add_arguments,
        connects=False,
        description=DESCRIPTION,
        epilog="example:\n  beanstalkt serve --port 11301",
    )
}
