"""The parser of the command line. Wrong usage is refused here, before anything is sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..protocol import arguments
from . import server_options
from .converters import job_id, tube
from .exit_status import USAGE
from .extras import EXTRAS, lacking
from .output import emit
from .prose import HelpFormatter
from .verbs import ALIASES, GROUPS, load

DESCRIPTION = "Talk to a beanstalkd server: one verb, one connection."

EPILOG = """\
Print the help of a verb with, for example: beanstalkt put -h

The options that name the server may be given before or after the verb. Without
them, BEANSTALKD_URL in the environment names it; without that, the server is
localhost:11300. Several servers, --server a=URL --server b=URL or a list of
them in BEANSTALKD_URL, are a pool: all verbs use all of them, and the id of a
job is a/17. What is done to many jobs is counted and told for each server; one that
is away or lost does not keep the others from being done.

Jobs and statistics are printed as JSON, with --json-lines on one line each. A body
that is not UTF-8 is printed in base64, with "encoding": "base64"; --raw prints the
body alone, exactly its bytes.

exit status:
  0    done
  1    the server refused: no such job, no job in time, body too big, ...
  2    wrong usage; nothing was sent
  69   no server, or the connection was lost; of several servers, to one of them
  130  interrupted
"""

_TUBE = "a tube is given with -u"

MEANT = {
    "put": "a body with spaces is one argument, in quotes",
    "pause": "how long is given with -d",
    **dict.fromkeys(("peek-ready", "peek-delayed", "peek-buried"), _TUBE),
}
"""What those probably do not know who give a verb a word too many."""


class Parser(argparse.ArgumentParser):
    """Parse arguments, of which no option may be abbreviated."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=HelpFormatter,
            **kwargs,
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments; refuse unknown ones here, so that the verb's usage is shown."""
        options, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._hint(rest[0])}")
        return options, rest

    def _hint(self, word: str) -> str:
        """Return what to add to the message that a word makes no sense here."""
        return ": was -P meant, the port?" if word.startswith("-p") else ""

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse hides that standard output cannot be written, where it is not buffered.
        if file is sys.stdout and file is not None:
            emit(message.removesuffix("\n"))
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Print the usage and `message`; exit with status 2."""
        if message.endswith("required: VERB"):
            message = "which verb? beanstalkt -h lists them, and beanstalkt put -h explains one"
        try:
            super().error(message)
        except OSError:  # Python 3.10 raises it if standard error cannot be written
            sys.exit(USAGE)


class VerbParser(Parser):
    """Parse the arguments of one verb, which is loaded when it is used and not before."""

    def __init__(self, *, group: str, verb: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._group = group
        self._verb = verb

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Load the verb and parse its arguments. argparse calls this for the verb in use."""
        try:
            self.load()
        except ModuleNotFoundError as error:
            self.error(lacking(self._verb, error, EXTRAS.get(self._verb)))
        return super().parse_known_args(args, namespace)

    def _hint(self, word: str) -> str:
        if word.startswith("-") or self._verb not in MEANT:
            return super()._hint(word)
        return f": {MEANT[self._verb]}"

    def load(self) -> None:
        """Load the verb and add its arguments, unless that was done before.

        Raises ModuleNotFoundError if a package that the verb needs is not installed.
        """
        if self.get_default("loaded") is not None:
            return
        verb = load(self._group, self._verb)
        if verb.connects:
            server_options.add_to(self, reply_timeout=not verb.own_timeout)
        verb.add_arguments(self)
        self.description = verb.description or self.description
        self.epilog = verb.epilog
        self.set_defaults(loaded=verb, parser=self)


class Version(argparse.Action):
    """Print the version of the package and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Look up the version, which reads files and imports much; print it and exit."""
        from .. import __version__

        # If standard output is closed, argparse prints the help to standard error as well.
        if sys.stdout is None:
            print("beanstalkt", __version__, file=sys.stderr)
        else:
            emit(f"beanstalkt {__version__}")
        parser.exit()


def build() -> Parser:
    """Build the parser of all verbs. Only the verb in use gets its arguments."""
    parser = Parser(prog="beanstalkt", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    server_options.add_to(parser)
    server_options.set_defaults(parser)
    server_options.refuse_mistaken(parser)
    verbs = parser.add_subparsers(
        dest="verb", metavar="VERB", required=True, title="verbs", parser_class=VerbParser
    )
    for group, summaries in GROUPS.items():
        for name, summary in summaries.items():
            verbs.add_parser(
                name,
                aliases=ALIASES.get(name, []),
                help=summary,
                description=f"{summary[0].upper()}{summary[1:]}.",
                group=group,
                verb=name,
            )
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check a command line; return its options.

    `run` among the options is the function of the options that carries out the verb; `server` is
    the URL that was given, or None. Raises SystemExit for wrong usage, and after ``-h``.
    """
    options = build().parse_args(argv)
    verb, parser = options.loaded, options.parser
    # After the whole command line: the options that name the server may precede the verb.
    server_options.check(parser, options, connects=verb.connects)
    verb.check(parser, options)
    options.run = verb.run
    return options


# --- arguments of several verbs ---------------------------------------------------------------


def add_use(parser: argparse.ArgumentParser) -> None:
    """Add ``--use``, the tube that a command goes to."""
    parser.add_argument(
        "-u",
        "--use",
        type=tube,
        default=arguments.DEFAULT_TUBE,
        metavar="TUBE",
        help="the tube (%(default)s)",
    )


def add_tube(parser: argparse.ArgumentParser) -> None:
    """Add ``TUBE``, the name of a tube."""
    parser.add_argument("tube", type=tube, metavar="TUBE", help="the name of the tube")


def add_id(parser: argparse.ArgumentParser) -> None:
    """Add ``ID``, the id of one job."""
    parser.add_argument("id", type=job_id, metavar="ID", help="the id of the job")


def add_ids(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Add ``ID...``, the ids of one or more jobs; or of any number, with ``*`` for `nargs`."""
    parser.add_argument("ids", type=job_id, metavar="ID", nargs=nargs, help="the id of a job")
