"""The verb outbox: jobs by INSERT. Its own verbs relay them, and look after the tables."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from sqlalchemy.exc import SQLAlchemyError

from ..errors import BeanstalkException, InvalidArgument
from ..protocol.address import Address
from ..protocol.arguments import Number
from ..protocol.servers import Server, servers_of
from ..sql import listening, migrations, upkeep
from ..sql.database import Database, describe, dialect_of, is_temporary
from ..sql.outbox import Outbox
from ..sql.relay import BATCH, doubtful_state
from . import confirm, relaying
from .converters import converter, number, seconds, tube
from .exit_status import DONE, NO_SERVER, REFUSED, exit_status_of
from .output import emit, emit_json
from .parser import Parser
from .running import run_interruptible
from .stdio import say
from .verbs import Verb

EPILOG = """\
A program inserts rows into queued_job, in its own transactions. The relay puts their
jobs into beanstalkd; work --history URL writes into the rows what became of them.
URL is postgresql://user@host/name, mysql://user@host/name or sqlite:///file. It may
also be in the environment, as BEANSTALKT_DATABASE, where nobody sees its password.

examples:
  beanstalkt outbox migrate --database sqlite:///jobs.db
  beanstalkt outbox relay --database sqlite:///jobs.db --server beanstalk://localhost
  beanstalkt work --tube default --http-job --allow https://app.example.com/ \\
      --history sqlite:///jobs.db
  beanstalkt outbox --help, and for example: beanstalkt outbox relay --help
"""

_BATCH = Number("batch", 500)
_ROW_ID = Number("row id", 2**63 - 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, title="actions", parser_class=Parser
    )

    def add(name: str, summary: str, example: str, database: bool = True) -> Parser:
        made: Parser = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example:\n  beanstalkt outbox {name} {example}",
        )
        made.add_argument(
            "--database",
            default=os.environ.get("BEANSTALKT_DATABASE") or None,
            metavar="URL",
            required=database and not os.environ.get("BEANSTALKT_DATABASE"),
            help="the database with the tables (BEANSTALKT_DATABASE)",
        )
        return made

    database = "--database sqlite:///jobs.db"
    _add_relay(add("relay", "put the jobs of new rows into beanstalkd", database))
    schema = add("schema", "print the tables as SQL", "postgresql", database=False)
    schema.add_argument(
        "kind", nargs="?", metavar="KIND", help="postgresql, mysql or sqlite; else of --database"
    )
    migrate = add("migrate", "make the tables, or bring them to the present version", database)
    migrate.add_argument(
        "--notify",
        action="store_true",
        help="PostgreSQL: add the trigger that notifies relays which --listen",
    )
    _add_resend(
        add("resend", "put rows again that were sent and did not finish", "--server one --dry-run")
    )
    add("status", "print how many rows are in which state", database)
    _add_clean(
        add("clean", "delete rows of jobs that are done, and old history", "--older-than 30d")
    )


def _add_relay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        dest="servers",
        action="append",
        type=converter(Server.parse),
        metavar="[NAME=]URL",
        help="a beanstalkd; NAME is what the table calls it (its host and port). May be repeated: "
        "jobs go to each in turn, and a server that is away, full or drains is left out",
    )
    parser.add_argument(
        "--tube",
        dest="default_tube",
        type=tube,
        default="default",
        metavar="TUBE",
        help="the tube of rows that name none (%(default)s)",
    )
    parser.add_argument(
        "--name",
        type=_relay_name,
        help="the name of this relay, which no other may have at the same time (the host's name)",
    )
    parser.add_argument(
        "--on-doubt",
        choices=("again", "park"),
        default="again",
        help="what becomes of a row when it is not known whether its job was put: put it again, "
        "or give it the state 'in doubt' (%(default)s)",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="put payloads as they are, for workers of other makes: the id of the row does not "
        "precede them, and what becomes of them is not written into the rows",
    )
    parser.add_argument(
        "--batch",
        type=number(_BATCH),
        default=BATCH,
        metavar="NUMBER",
        help="rows that are put and not yet marked at most, which a kill puts again; half of them "
        "are claimed at a time (%(default)s)",
    )
    parser.add_argument("--burst", action="store_true", help="end when no row is new")
    parser.add_argument(
        "--listen",
        action="store_true",
        help="PostgreSQL: look at the table when it notifies (outbox migrate --notify), too",
    )


def _add_resend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server", dest="server_name", metavar="NAME", help="only what this server was sent"
    )
    parser.add_argument(
        "--server-run", metavar="ID", help="only what this run of it was sent (its id in stats)"
    )
    parser.add_argument(
        "--state",
        action="append",
        choices=("sent", "failed", "in-doubt", "done"),
        dest="states",
        help="rows in this state (sent); may be repeated",
    )
    parser.add_argument(
        "--id",
        action="append",
        default=[],
        dest="ids",
        type=number(_ROW_ID),
        metavar="ID",
        help="only this row; may be repeated",
    )
    confirm.add_to(parser)


def _add_clean(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        type=seconds,
        default=seconds("30d"),
        metavar="DURATION",
        help="rows of jobs that ended that long ago, and events of then (30d)",
    )
    parser.add_argument("--failed", action="store_true", help="also rows of jobs that failed")
    parser.add_argument(
        "--sent",
        action="store_true",
        help="also rows of jobs that were put that long ago and of which no end is known, as of "
        "those of relay --plain",
    )
    parser.add_argument(
        "--only", choices=("rows", "log"), help="delete only rows, or only the history"
    )
    confirm.add_to(parser)


def _relay_name(text: str) -> str:
    if not 0 < len(text) <= 200 or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has 1 to 200 printable characters")
    return text


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what contradicts itself."""
    if options.action == "schema" and not (options.kind or options.database):
        parser.error("outbox schema: give KIND or --database")
    if options.action == "relay":
        if not options.servers:
            options.servers = _default_servers(parser)
        try:
            options.servers = servers_of(options.servers)
        except InvalidArgument as error:
            parser.error(f"outbox relay: {error}")
        options.name = options.name or socket.gethostname()[:200]
        if options.batch < 1:
            parser.error("outbox relay: --batch must be at least 1")
    if options.action == "resend":
        if not (options.server_name or options.ids or options.states):
            parser.error("outbox resend: say which rows: --server, --state or --id")
        confirm.check(parser, options)
    if options.action == "clean":
        confirm.check(parser, options)


def _default_servers(parser: argparse.ArgumentParser) -> tuple[Server, ...]:
    try:
        return servers_of(os.environ.get("BEANSTALKD_URL") or str(Address()))
    except InvalidArgument as error:
        parser.error(f"BEANSTALKD_URL: {error}")


# --- the actions -----------------------------------------------------------------------------


def outbox(options: argparse.Namespace) -> int:
    """Carry out one of the actions; return the exit status."""
    try:
        return _ACTIONS[options.action](options)
    except BeanstalkException as error:
        say(str(error))
        return exit_status_of(error)
    except SQLAlchemyError as error:
        say(f"the database: {describe(error)}")
        return NO_SERVER if is_temporary(error) else REFUSED


@contextmanager
def _database(options: argparse.Namespace, *, check: bool = True) -> Iterator[Database]:
    with closing(Database(options.database)) as database:
        if check:
            migrations.check(database)
        yield database


def _schema(options: argparse.Namespace) -> int:
    if options.kind:
        dialect = dialect_of(options.kind)
    else:
        with _database(options, check=False) as database:
            dialect = database.dialect
    emit(migrations.schema(dialect).rstrip())
    return DONE


def _migrate(options: argparse.Namespace) -> int:
    with _database(options, check=False) as database:
        if options.notify:
            listening.check(database)
        made = migrations.migrate(database)
        if options.notify:
            migrations.notify(database)
        version = migrations.VERSIONS[-1]
        if made:
            say(f"{database.shown} has version {version} of the outbox now")
        else:
            say(f"{database.shown} has version {version} of the outbox already")
    return DONE


def _status(options: argparse.Namespace) -> int:
    with _database(options) as database:
        emit_json(upkeep.status(database))
    return DONE


def _resend(options: argparse.Namespace) -> int:
    with _database(options) as database:

        def rows(dry_run: bool) -> Iterator[int]:
            return upkeep.resend(
                database,
                server=options.server_name,
                server_run=options.server_run,
                states=[state.replace("-", " ") for state in options.states or ("sent",)],
                ids=options.ids,
                dry_run=dry_run,
            )

        return _carry_out(options, rows, "put {} rows again", "{} rows are new again")


def _clean(options: argparse.Namespace) -> int:
    states = ["done", *("failed",) * options.failed, *("sent",) * options.sent]
    with _database(options) as database:

        def rows(dry_run: bool) -> Iterator[int]:
            age = options.older_than
            if options.only != "log":
                yield from upkeep.clean(database, age, states=states, dry_run=dry_run)
            if options.only != "rows":
                yield from upkeep.clean_log(database, age, dry_run=dry_run)

        return _carry_out(options, rows, "delete {} rows and events", "{} were deleted")


def _carry_out(
    options: argparse.Namespace,
    rows: Callable[[bool], Iterator[int]],
    question: str,
    summary: str,
) -> int:
    """Count rows, ask, and change them in batches, of which an interrupt loses none."""
    if options.dry_run or not options.yes:
        count = sum(rows(True))
        if options.dry_run or not count:
            say(f"would {question.format(count)}")
            return DONE
        if not run_interruptible(confirm.confirmed(f"{question.format(count)}?".capitalize())):
            return REFUSED
    done = 0
    try:
        for count in rows(False):
            done += count
    finally:
        say(summary.format(done))
    return DONE


def _relay(options: argparse.Namespace) -> int:
    relaying.log_to_stderr()
    with _database(options) as database:
        if options.listen:
            listening.check(database)
    # From here on the relay's thread has it, and closes it. To close it here as well would wait
    # for a thread that hangs in it.
    with relaying.only_one(options.name, database):
        outbox = Outbox(database, options.name, doubtful_state(options.on_doubt))
        return asyncio.run(relaying.run(options, outbox))


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "relay": _relay,
    "schema": _schema,
    "migrate": _migrate,
    "resend": _resend,
    "status": _status,
    "clean": _clean,
}

VERBS = {"outbox": Verb(outbox, add_arguments, check, connects=False, epilog=EPILOG)}
