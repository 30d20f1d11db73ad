"""What can be said on the command line, and what is wrong usage before anything is sent."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.metadata
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

from ..errors import InvalidArgument
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..protocol import arguments
from ..protocol.address import DEFAULT_PORT, Address

V = TypeVar("V")
T = TypeVar("T")

ACTIONS = ("delete", "release", "bury")

DESCRIPTION = "Talk to a beanstalkd server: one verb, one connection."

EPILOG = """\
Every verb explains itself: beanstalkt put -h
The server's options may stand before or after the verb. Without them the server
is the one that BEANSTALKD_URL names in the environment, else localhost:11300.

Jobs and stats are printed as JSON. A body that is not UTF-8 comes in base64, and
with "encoding": "base64".

exit status:
  0    done
  1    the server said no: no such job, no job in time, body too big, ...
  2    wrong usage; nothing was sent
  69   no server, or the connection was lost
  130  interrupted
"""

PUT_EPILOG = """\
It prints the new job's id; with --lines, an id a line, in the order of the lines.

examples:
  beanstalkt put "A job to work on"
  beanstalkt put -u mail -p 100 -d 60 - < letter.txt
  beanstalkt put -u urls --lines urls.txt
  beanstalkt put -- -a-body-that-begins-with-a-dash
"""

RESERVE_EPILOG = """\
The job is printed first, and then deleted, released or buried. Without an action
it goes back to the ready jobs of its tube, unchanged, when the command ends.

examples:
  beanstalkt reserve delete
  beanstalkt reserve -t 10 -w mail -w news -i
  beanstalkt reserve release -p 10 -d 60
"""

RESERVE_JOB_EPILOG = """\
It takes a ready, a delayed or a buried job; what comes then is as with reserve.

example:
  beanstalkt reserve-job 17 bury
"""


class Parser(argparse.ArgumentParser):
    """A parser that takes no option by half its name.

    With a `module`, it asks that for its arguments, and only when it is used: the other verbs
    need not import a whole server or worker.
    """

    def __init__(self, *, module: str | None = None, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)
        self._module = module

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self._module is not None:
            try:
                module = importlib.import_module(self._module, __package__)
            except ModuleNotFoundError as error:
                self.error(f"not in this installation: {error}")
            module.add_arguments(self)
            self.set_defaults(main=module.main)
            self._module = None
        options, rest = super().parse_known_args(args, namespace)
        if rest:  # refused here, where the usage shown is the verb's
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return options, rest

    def error(self, message: str) -> NoReturn:
        try:
            super().error(message)
        except OSError:  # before Python 3.11 it is raised where nobody can be told
            sys.exit(2)


class Version(argparse.Action):
    """Prints the package's version. It is looked up at use: that reads files."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            version = importlib.metadata.version("beanstalkt")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed: version unknown)"
        # Where standard output is closed, as argparse itself does with the help.
        print("beanstalkt", version, file=sys.stdout or sys.stderr)
        parser.exit()


# --- values ---------------------------------------------------------------------------------


def number(kind: arguments.Number) -> Callable[[str], int]:
    """A converter for one of the protocol's numbers."""

    def convert(text: str) -> int:
        # int() would also take "1_000", " 7 " and other scripts' digits.
        if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 4000):
            raise argparse.ArgumentTypeError(f"{text[:50]!r} is not a whole number")
        return _checked(kind.check, int(text))

    return convert


def tube(text: str) -> str:
    """A converter for the name of a tube."""
    _checked(arguments.TUBE.check, text)
    return text


def url(text: str) -> str:
    """A converter for a server's URL."""
    _checked(Address.parse, text)
    return text


def port(text: str) -> int:
    """A converter for a TCP port."""
    return _checked(lambda value: Address(port=value), number(arguments.SIZE)(text)).port


def seconds(text: str) -> float:
    """A converter for a duration in seconds."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError("it must be 0 seconds or more")
    return value


def _checked(check: Callable[[V], T], value: V) -> T:
    try:
        return check(value)
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# --- verbs ----------------------------------------------------------------------------------


def build() -> Parser:
    """The parser. It gives the options, `verb`, `check` (a function of the options that ends
    the program where they contradict each other, and completes them), and for the verbs of a
    module its `main`.

    After `check`, `server` is the URL that was given, or None.
    """
    parser = Parser(
        prog="beanstalkt",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    _add_server(parser)
    parser.set_defaults(server=None, server_host=None, server_port=None, connect_timeout=3.0)
    verbs = parser.add_subparsers(
        dest="verb", metavar="VERB", required=True, title="verbs", parser_class=Parser
    )

    def verb(name: str, summary: str, **kwargs: Any) -> Parser:
        new: Parser = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )
        _add_server(new)
        new.set_defaults(check=partial(_check_server, new))
        return new

    _add_producer_verbs(verb)
    _add_worker_verbs(verb)
    _add_other_verbs(verb)
    verb("work", "reserve jobs and run a handler for each", module=".work")
    serve = verbs.add_parser(
        "serve", help="run a server in memory, for development and tests", module=".serve"
    )
    serve.set_defaults(check=partial(_check_serve, serve))
    return parser


def _add_server(parser: Parser) -> None:
    group = parser.add_argument_group("the server")
    # SUPPRESS: a verb's default would overwrite what was given before the verb.
    add = partial(group.add_argument, default=argparse.SUPPRESS)
    add(
        "--server",
        type=url,
        metavar="URL",
        help="beanstalk://host:port, beanstalks://host:port (TLS) or unix:///path",
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
        help="how long to try to connect (3)",
    )


def _add_producer_verbs(verb: Callable[..., Parser]) -> None:
    put = verb("put", "put a job, or a file of jobs, into a tube", epilog=PUT_EPILOG)
    put.add_argument("body", nargs="?", help="the job's body; - reads it from standard input")
    put.add_argument(
        "--lines",
        metavar="FILE",
        help="put each line of FILE as a job, without its line end; an empty line "
        "is a job with an empty body; - is standard input",
    )
    put.add_argument(
        "-p",
        "--priority",
        type=number(arguments.PRIORITY),
        default=DEFAULT_PRIORITY,
        help="0 is the most urgent (%(default)s)",
    )
    _add_use(put)
    put.add_argument(
        "-d",
        "--delay",
        type=number(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long the job waits before it is ready (%(default)s)",
    )
    put.add_argument(
        "-t",
        "--ttr",
        type=number(arguments.TTR),
        default=DEFAULT_TTR,
        metavar="SECONDS",
        help="time to run: how long a worker may hold the job (%(default)s)",
    )
    put.set_defaults(check=partial(_check_put, put), input=None)


def _add_worker_verbs(verb: Callable[..., Parser]) -> None:
    reserve = verb(
        "reserve", "take a job: print it, and delete, release or bury it", epilog=RESERVE_EPILOG
    )
    reserve.add_argument(
        "-t",
        "--timeout",
        type=number(arguments.TIMEOUT),
        metavar="SECONDS",
        help="how long to wait for a job (for ever)",
    )
    reserve.add_argument(
        "-w",
        "--watch",
        type=tube,
        action="append",
        default=[],
        metavar="TUBE",
        help="a tube to take jobs from, besides default; may be repeated",
    )
    reserve.add_argument(
        "-i", "--ignore-default", action="store_true", help="take no job from the tube default"
    )
    _add_action(reserve)
    reserve.set_defaults(check=partial(_check_reserve, reserve))

    reserve_job = verb(
        "reserve-job", "take the job with this id, as reserve does", epilog=RESERVE_JOB_EPILOG
    )
    _add_id(reserve_job)
    _add_action(reserve_job)
    reserve_job.set_defaults(check=partial(_check_action, reserve_job))


def _add_other_verbs(verb: Callable[..., Parser]) -> None:
    _add_id(verb("peek", "print the job with this id"))
    for state in ("ready", "delayed", "buried"):
        _add_use(verb(f"peek-{state}", f"print the next {state} job of a tube"))
    _add_ids(verb("delete", "delete jobs by their ids"))

    kick = verb("kick", "make buried jobs of a tube ready, else delayed ones; print how many")
    kick.add_argument(
        "-b",
        "--bound",
        type=number(arguments.BOUND),
        default=1,
        metavar="NUMBER",
        help="how many at most (%(default)s)",
    )
    _add_use(kick)
    _add_ids(verb("kick-job", "make buried or delayed jobs ready, by their ids"))

    verb("stats", "print the server's counters")
    _add_id(verb("stats-job", "print what the server knows of a job"))
    _add_tube(verb("stats-tube", "print the counters of a tube"))
    verb("list", "print the names of all tubes", aliases=["list-tubes"])
    pause = verb("pause", "let no job of a tube be reserved for a while")
    _add_tube(pause)
    pause.add_argument(
        "-d",
        "--delay",
        type=number(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long; 0, which is the default, ends a pause",
    )


def _add_use(parser: Parser) -> None:
    parser.add_argument(
        "-u",
        "--use",
        type=tube,
        default=arguments.DEFAULT_TUBE,
        metavar="TUBE",
        help="the tube (%(default)s)",
    )


def _add_tube(parser: Parser) -> None:
    parser.add_argument("tube", type=tube, metavar="TUBE", help="the tube's name")


def _add_id(parser: Parser) -> None:
    parser.add_argument("id", type=number(arguments.JOB_ID), metavar="ID", help="the job's id")


def _add_ids(parser: Parser) -> None:
    parser.add_argument(
        "ids", type=number(arguments.JOB_ID), metavar="ID", nargs="+", help="a job's id"
    )


def _add_action(parser: Parser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, help="what to do with the job once it is printed"
    )
    parser.add_argument(
        "-p",
        "--priority",
        type=number(arguments.PRIORITY),
        help="release, bury: a new priority (the job keeps its own)",
    )
    parser.add_argument(
        "-d",
        "--delay",
        type=number(arguments.DELAY),
        metavar="SECONDS",
        help="release: how long the job waits before it is ready again (0)",
    )


# --- checks ---------------------------------------------------------------------------------


def _check_server(parser: Parser, options: argparse.Namespace) -> None:
    host, port = options.server_host, options.server_port
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


def _check_serve(parser: Parser, options: argparse.Namespace) -> None:
    if (options.server, options.server_host, options.server_port) != (None, None, None):
        parser.error("serve talks to no server: where it listens is said behind the verb")


def _check_put(parser: Parser, options: argparse.Namespace) -> None:
    _check_server(parser, options)
    if (options.body is None) == (options.lines is None):
        parser.error("give either a body (- for standard input) or --lines FILE")
    # Opened here: a missing file is wrong usage, and a named pipe may keep us waiting.
    try:
        if "-" in (options.body, options.lines):
            if sys.stdin is None:  # it was closed
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            options.input = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
        elif options.lines is not None:
            options.input = open(options.lines, "rb", buffering=0)  # noqa: SIM115
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        name = "standard input" if options.lines in (None, "-") else options.lines
        parser.error(f"cannot read {name}: {reason}")


def _check_reserve(parser: Parser, options: argparse.Namespace) -> None:
    _check_action(parser, options)
    if options.ignore_default and not set(options.watch) - {arguments.DEFAULT_TUBE}:
        parser.error("-i leaves no tube to reserve from: give one with -w")


def _check_action(parser: Parser, options: argparse.Namespace) -> None:
    _check_server(parser, options)
    if options.priority is not None and options.action not in ("release", "bury"):
        parser.error("-p goes with release or bury")
    if options.delay is not None and options.action != "release":
        parser.error("-d goes with release")
