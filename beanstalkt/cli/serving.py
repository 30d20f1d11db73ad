"""What verbs share that serve until a signal ends them, and name several servers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from argparse import ArgumentParser

from ..errors import InvalidArgument
from ..protocol.address import Address
from ..protocol.servers import names_one
from ..worker.log.lines import RepeatFilter


def add_servers(parser: ArgumentParser) -> None:
    """Add ``--server``, which may be repeated."""
    parser.add_argument(
        "--server",
        dest="servers",
        action="append",
        default=[],
        metavar="[NAME=]URL",
        help="a server, and what to call it; may be repeated (BEANSTALKD_URL, or localhost:11300)",
    )


def servers_of(given: list[str]) -> dict[str, str]:
    """Return the URLs of the servers by name; without any, those of BEANSTALKD_URL.

    A weight, which only a pool needs, is left out. Raises InvalidArgument.
    """
    texts = given or _of_the_environment()
    found = named([text.partition("?weight=")[0] for text in texts], "server")
    for url in found.values():
        Address.parse(url)
    return found


def _of_the_environment() -> list[str]:
    text = os.environ.get("BEANSTALKD_URL") or str(Address())
    return [text] if names_one(text) else text.replace(",", " ").split()


def named(given: list[str], kind: str) -> dict[str, str]:
    """Return what was given as ``NAME=URL`` by name; what has no name is called after its place.

    Raises InvalidArgument if two have the same name.
    """
    found: dict[str, str] = {}
    for number, text in enumerate(given, 1):
        name, equals, address = text.partition("=")
        if not equals or "/" in name:
            name, address = (kind if len(given) == 1 else f"{kind}-{number}"), text
        if name in found:
            raise InvalidArgument(
                f"two {kind}s are called {name!r}: give each --{kind} a name of its own"
            )
        found[name] = address
    return found


def log_to_stderr(level: int) -> None:
    """Log to standard error; a message that is repeated only once in a while.

    A server that is lost for an hour is looked at every few seconds, and is as lost each time.
    """
    handler = logging.StreamHandler()
    handler.addFilter(RepeatFilter())
    logging.basicConfig(format="beanstalkt: %(message)s", level=level, handlers=[handler])


def ended() -> asyncio.Event:
    """Return an event that is set by SIGTERM and SIGINT. Must be called on the loop."""
    event = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, event.set)
    return event
