"""The options that name the server. They may be given before or after the verb."""

from __future__ import annotations

import argparse
from functools import partial

from ..errors import InvalidArgument
from ..protocol.address import DEFAULT_PORT, Address
from ..protocol.servers import parse_servers
from .converters import port, positive_seconds, seconds, server

CONNECT_TIMEOUT = 3.0
"""Seconds to try to connect, unless ``--connect-timeout`` is given."""


RESPONSE_TIMEOUT = 5.0
"""Seconds that the server may take for a reply, unless ``--timeout`` is given."""


class AddServer(argparse.Action):
    """Add one more server to the list of those given before or after the verb."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Add the server; refuse one whose name another one has."""
        before = getattr(namespace, self.dest, None)
        servers = values if before is None else f"{before} {values}"
        if before is not None:
            try:
                parse_servers(str(servers))
            except InvalidArgument as error:
                parser.error(str(error))
        setattr(namespace, self.dest, servers)


def add_to(parser: argparse.ArgumentParser, *, reply_timeout: bool = True) -> None:
    """Add the options to the parser of the program or of a verb, without defaults.

    :param reply_timeout: whether ``--timeout`` is the time for a reply here
    """
    group = parser.add_argument_group("the server")
    # A default of a verb's parser would overwrite what was given before the verb.
    add = partial(group.add_argument, default=argparse.SUPPRESS)
    add(
        "--server",
        type=server,
        action=AddServer,
        metavar="URL",
        help="beanstalk://host:port, beanstalks://host:port (TLS) or unix:///path; NAME=URL, "
        "given several times, for several servers",
    )
    add(
        "-H", "--host", dest="server_host", metavar="HOST", help="host name or address (localhost)"
    )
    add(
        "-P",
        "--port",
        dest="server_port",
        type=port,
        metavar="PORT",
        help=f"TCP port ({DEFAULT_PORT})",
    )
    add(
        "--connect-timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"how long to try to connect ({CONNECT_TIMEOUT:g})",
    )
    if reply_timeout:
        add(
            "--timeout",
            dest="response_timeout",
            type=positive_seconds,
            metavar="SECONDS",
            help="how long the server may take for a reply, not counting the time for which a "
            f"reserve waits ({RESPONSE_TIMEOUT:g})",
        )


def set_defaults(parser: argparse.ArgumentParser) -> None:
    """Set the defaults of the options, on the parser of the program."""
    parser.set_defaults(
        server=None,
        server_host=None,
        server_port=None,
        connect_timeout=CONNECT_TIMEOUT,
        response_timeout=RESPONSE_TIMEOUT,
    )


class Mistaken(argparse.Action):
    """Refuse ``-p`` before the verb, where it is usually meant to be ``-P``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Refuse ``-p``, and say which option was probably meant."""
        parser.error(
            f"-p is not an option of the program: was -P {values} meant, the port? "
            "(-p after put, reserve or reserve-job is a priority)"
        )


def refuse_mistaken(parser: argparse.ArgumentParser) -> None:
    """Have the parser of the program refuse ``-p`` with the option that was probably meant."""
    parser.add_argument(
        "-p", action=Mistaken, default=argparse.SUPPRESS, help=argparse.SUPPRESS, metavar="PORT"
    )


def check(parser: argparse.ArgumentParser, options: argparse.Namespace, *, connects: bool) -> None:
    """Make one URL, or a list, of the options, in ``options.server``; refuse contradictions.

    `connects` is whether the verb connects to a server. If not, all of the options are refused.
    """
    host, port = options.server_host, options.server_port
    given = (options.server, host, port, options.response_timeout)
    if not connects and given != (None, None, None, RESPONSE_TIMEOUT):
        parser.error(
            f"{options.verb} connects to no server: leave out --server, -H, -P and --timeout "
            f"before the verb, and give the options of {options.verb} after the verb"
        )
    if host is None and port is None:
        return
    if options.server is not None:
        parser.error("--server names the host and port already: -H and -P cannot be given too")
    try:
        address = Address(
            "localhost" if host is None else host, DEFAULT_PORT if port is None else port
        )
    except InvalidArgument as error:
        parser.error(str(error))
    options.server = str(address)
