"""The verb console: the web console."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import Console, Settings
from ..console.context import Metrics
from ..console.settings import DEFAULT_PORT
from ..errors import InvalidArgument
from .converters import positive_seconds
from .exit_status import DONE, REFUSED, USAGE
from .extras import DATABASES, lacking
from .serving import add_servers, ended, log_to_stderr, named, servers_of
from .stdio import say
from .verbs import Verb

if TYPE_CHECKING:
    from ..sql.history_log import HistoryLog

DESCRIPTION = """\
Show servers live in a browser: their tubes with rates and charts, their jobs in every state, and
runners; and act on all jobs that match a filter. Listens on loopback, unless it has a password or
a token.
"""

EPILOG = """\
The password is the first line of the file that --password-file names, or what the variable
BEANSTALKT_CONSOLE_PASSWORD holds; the token, for programs, likewise with --token-file or
BEANSTALKT_CONSOLE_TOKEN. A program sends it in the header "Authorization: Bearer TOKEN".

examples:
  beanstalkt console
  beanstalkt console --server main=beanstalk://10.0.0.5 --server mail=beanstalk://10.0.0.6:11301
  beanstalkt console --listen 0.0.0.0 --password-file /etc/beanstalkt-password --read-only \\
      --allow-host queue.example.com
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    add_servers(parser)
    add = parser.add_argument
    add(
        "--runner",
        dest="runners",
        action="append",
        default=[],
        metavar="[NAME=]URL",
        help="a runner to show: the http:// address of its --metrics; may be repeated",
    )
    add(
        "--listen",
        default="127.0.0.1",
        metavar="HOST",
        help="the address to listen on (%(default)s)",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="the port to listen on, or 0 for any free one (%(default)s)",
    )
    add(
        "--password-file", metavar="FILE", help="the file with the password that the page asks for"
    )
    add("--token-file", metavar="FILE", help="the file with the token that programs send")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the console; may be repeated",
    )
    add(
        "--prefix",
        default="",
        metavar="PATH",
        help="what all addresses begin with behind a proxy, such as /queues",
    )
    add(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a proxy whose header X-Forwarded-For is believed; may be repeated",
    )
    add("--read-only", action="store_true", help="refuse everything that changes a server")
    add(
        "--interval",
        type=positive_seconds,
        default=2.0,
        metavar="SECONDS",
        help="the time between two looks at a server (%(default)s)",
    )
    add(
        "--history",
        metavar="URL",
        help="the database of a history to show, as work --history writes it (beanstalkt[sql])",
    )
    add("--action-log", metavar="FILE", help="append each action to FILE, as a line of JSON")
    add("--certificate", metavar="FILE", help="serve HTTPS with this certificate (PEM)")
    add("--key", metavar="FILE", help="the key of the certificate, if it is in another file")


def console(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    log_to_stderr(logging.INFO)
    try:
        settings = _settings(options)
        history = None if options.history is None else _history(options.history)
    except (InvalidArgument, ModuleNotFoundError) as error:
        say(str(error))
        return USAGE
    try:
        return asyncio.run(_console(settings, history))
    finally:
        if history is not None:
            history.close()


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the console that the options describe.

    Raises InvalidArgument, and OSError for a file that cannot be read.
    """
    if not 0 <= options.port < 2**16:
        raise InvalidArgument(f"the port must be from 0 to 65535, not {options.port}")
    return Settings(
        servers_of(options.servers),
        host=options.listen,
        port=options.port,
        password=_secret(options.password_file, "BEANSTALKT_CONSOLE_PASSWORD"),
        token=_secret(options.token_file, "BEANSTALKT_CONSOLE_TOKEN"),
        allowed_hosts=tuple(options.allow_host),
        prefix=options.prefix,
        trusted_proxies=tuple(options.trusted_proxy),
        read_only=options.read_only,
        interval=options.interval,
        runners=named(options.runners, "runner"),
        action_log=options.action_log,
        certificate=options.certificate,
        key=options.key,
    )


def _secret(path: str | None, variable: str) -> str | None:
    """Return the first line of a file, or else what a variable holds."""
    if path is None:
        return os.environ.get(variable) or None
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return lines[0].strip() if lines else ""


def _metrics() -> Metrics | None:
    """Return what makes the metrics of snapshots; None if the library for it is not installed."""
    try:
        from ..metrics.servers import text_of
    except ModuleNotFoundError:
        return None
    return text_of


def _history(url: str) -> HistoryLog:
    """Return the history in a database. Raises InvalidArgument, and ModuleNotFoundError."""
    try:
        from ..sql.history_log import HistoryLog
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(lacking("--history", error, DATABASES)) from None
    try:
        return HistoryLog(url)
    except InvalidArgument as error:
        raise InvalidArgument(f"--history: {error}") from None


async def _console(settings: Settings, history: HistoryLog | None) -> int:
    shown = Console(settings, metrics=_metrics(), history=history)
    try:
        shown.start()
    except InvalidArgument as error:
        say(str(error))
        return USAGE
    except OSError as error:
        if error.filename is not None:
            raise
        say(f"cannot listen on {settings.host}:{settings.port}: {error}")
        return REFUSED
    over = ended()
    say(f"the console is at {shown.url}")
    try:
        await over.wait()
    finally:
        await shown.stop()
    return DONE


VERBS = {
    "console": Verb(console, add_arguments, connects=False, description=DESCRIPTION, epilog=EPILOG)
}
