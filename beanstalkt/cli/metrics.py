"""The verb metrics: the metrics of servers, for Prometheus."""

from __future__ import annotations

import argparse
import asyncio
import logging

from tornado.netutil import bind_sockets

from ..admin import TubeFilter
from ..errors import InvalidArgument
from ..metrics.servers import HEADS, MAX_TUBES, TIMEOUT, ServerMetrics
from ..metrics.web import MetricsServer
from ..protocol.address import parse_host_and_port
from ..protocol.arguments import Number
from .converters import converter, number, positive_seconds
from .exit_status import DONE, REFUSED, USAGE
from .output import emit
from .running import run_interruptible
from .serving import add_servers, ended, log_to_stderr, servers_of
from .stdio import say
from .verbs import Verb

DESCRIPTION = """\
Print the metrics of servers and their tubes in the format of Prometheus, or serve them.
"""

EPILOG = """\
Each scrape looks at the servers anew. One that does not answer in time has beanstalkd_up 0, and
delays no answer. A tube that is gone has no metrics any more.

examples:
  beanstalkt metrics
  beanstalkt metrics --listen :9114 --server main=beanstalk://10.0.0.5 --exclude 'tmp.*'
"""

_COUNT = Number("number", 10**6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    add_servers(parser)
    add = parser.add_argument
    add(
        "--listen",
        type=converter(parse_host_and_port),
        metavar="HOST:PORT",
        help="serve /metrics and /healthz there, instead of printing the metrics once",
    )
    add(
        "--tube",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only the tubes whose names match, such as 'mail.*'; may be repeated",
    )
    add(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out the tubes whose names match; may be repeated",
    )
    add(
        "--max-tubes",
        type=number(_COUNT),
        default=MAX_TUBES,
        metavar="NUMBER",
        help="tubes of each server at the most (%(default)s)",
    )
    add(
        "--heads",
        type=number(_COUNT),
        default=HEADS,
        metavar="NUMBER",
        help="tubes whose next ready job is looked at, for its age (%(default)s)",
    )
    add(
        "--timeout",
        type=positive_seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help="how long a server may take to answer (%(default)s)",
    )


def metrics(options: argparse.Namespace) -> int:
    """Print the metrics, or serve them until SIGTERM or SIGINT; return the exit status."""
    log_to_stderr(logging.WARNING)
    try:
        tubes = TubeFilter(
            tuple(options.tube) or ("*",), tuple(options.exclude), options.max_tubes
        )
        servers = ServerMetrics(servers_of(options.servers), tubes, options.timeout, options.heads)
    except InvalidArgument as error:
        say(str(error))
        return USAGE
    if options.listen is None:
        emit(run_interruptible(servers.render()).rstrip("\n"))
        return DONE
    return asyncio.run(_serve(servers, *options.listen))


async def _serve(servers: ServerMetrics, host: str, port: int) -> int:
    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        say(f"cannot listen on {host}:{port}: {error}")
        return REFUSED
    over = ended()
    web = MetricsServer(servers.render)
    web.serve(sockets)
    try:
        say(f"serving metrics on {host}:{sockets[0].getsockname()[1]}")
        await over.wait()
    finally:
        await web.close()
    return DONE


VERBS = {
    "metrics": Verb(metrics, add_arguments, connects=False, description=DESCRIPTION, epilog=EPILOG)
}
