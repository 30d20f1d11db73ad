"""The verbs that take jobs elsewhere with all that they have: export, import, move and copy."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from typing import IO, Any, get_args

from .. import admin
from ..admin.exporting import export_jobs
from ..admin.importing import AnyImporter, importing
from ..admin.progress import OnError, OnProgress, Summary
from ..admin.record import STATES, State
from ..admin.several import Clients
from ..client.client import Client
from ..errors import InvalidArgument
from . import confirm, selection_options
from .changing import change_jobs
from .confirm import add_dry_run
from .connected import Command, another_client, connected, turns_of, url_of_server
from .converters import server_name, tube, url_or_name
from .input import Lines, open_input, read_some
from .output import emit_bytes
from .progress import beside_progress, carry_out
from .verbs import Verb

WRITE_SIZE = 2**16
"""Bytes of lines to write at a time, at the most."""

WRITE_INTERVAL = 0.1
"""Seconds after which lines are written although they are few."""

EXPORT_EPILOG = """\
Each job is printed as JSON on one line, with its id, tube, state, priority, ttr
and body, and with what is left of its delay. A body that is not UTF-8 is in
base64. Jobs of every state are exported, those that workers have reserved
included; none is moved or reserved.

examples:
  beanstalkt export > jobs.jsonl
  beanstalkt export mail --state buried > buried.jsonl
  beanstalkt export mail | beanstalkt import --server beanstalk://other:11300 -
"""

IMPORT_EPILOG = """\
Each job gets the tube, priority, ttr, state and delay that its line tells; fields
that are missing are as for put. Buried jobs are buried again, without a moment at
which a worker could reserve them. Jobs that were reserved become ready. The number
of jobs is printed.

With several servers, each job goes back to the server that its line names; a line
that names none of them goes to the next one in turn, as often as its weight says.
A line whose server is away is refused: --spread and --to put it elsewhere. With
--resume, each server has a file of its own, FILE.NAME.

With --resume, the file tells which lines were done, so the same command can be
given again after it was interrupted, killed or refused: lines that are done are
not put again. Some hundreds of jobs are under way at a time. When the program was
killed, those are looked for in the server; what is not found there is put.

examples:
  beanstalkt import jobs.jsonl
  beanstalkt import --use mail-again --on-error skip jobs.jsonl
  beanstalkt import --resume jobs.journal jobs.jsonl
  beanstalkt --server a=URL --server b=URL import --spread jobs.jsonl
"""

MOVE_EPILOG = """\
With several servers, --to-tube alone moves the jobs within each of them; with --to,
those of the server that they go to stay where they are.

The jobs keep their tube (unless --to-tube is given), priority, ttr, what is left of
their delay, and are buried if they were; their ids are new. Workers may go on taking
jobs of the same tubes; jobs that are reserved are left alone. The number of jobs that
were moved is printed.

Each job is put there before it is deleted here, so none is lost whatever happens. If
the program is killed, or a connection is lost, up to 512 jobs that were under way may
be in both places.

examples:
  beanstalkt move mail --to beanstalk://other:11300
  beanstalkt move mail --state buried --to-tube mail-failed
  beanstalkt move --to beanstalk://other:11300 --dry-run
  beanstalkt --server a=URL --server b=URL move mail --to b
"""

COPY_EPILOG = """\
The copies have the tube of the jobs (unless --to-tube is given), their priority, ttr
and what is left of their delay, and are buried if they are; the copy of a job that is
reserved is ready. The number of jobs that were copied is printed.

examples:
  beanstalkt copy mail --to beanstalk://staging:11300 --limit 100
  beanstalkt copy mail --to-tube mail-test --yes
"""


# --- export ---------------------------------------------------------------------------------


async def export(client: Client | Clients, options: Namespace) -> int:
    """Print the lines of the jobs of the selection."""

    async def run(summary: Summary, progress: OnProgress | None) -> None:
        exporting = export_jobs(
            client, options.selection, limit=options.limit, summary=summary, progress=progress
        )
        async with aclosing(exporting) as lines:
            await write_lines(lines)

    return await carry_out(run, counts=False)


async def write_lines(lines: AsyncIterable[bytes]) -> None:
    """Write lines to standard output, many at a time but none of them late."""
    pieces: list[bytes] = []
    size, written = 0, time.monotonic()
    try:
        async for line in lines:
            pieces.append(line)
            size += len(line)
            if size >= WRITE_SIZE or time.monotonic() - written >= WRITE_INTERVAL:
                data, pieces, size = b"".join(pieces), [], 0
                with beside_progress():
                    emit_bytes(data)
                written = time.monotonic()
    finally:
        if pieces:
            with beside_progress():
                emit_bytes(b"".join(pieces))


def _add_export_arguments(parser: ArgumentParser) -> None:
    selection_options.add_tubes(parser)
    selection_options.add_to(parser)
    selection_options.add_limit(parser)


# --- import ---------------------------------------------------------------------------------


async def import_(client: Client | Clients, options: Namespace) -> int:
    """Put the jobs of the lines of a file."""
    turns = turns_of(options) if isinstance(client, Mapping) else None

    async def run(summary: Summary, progress: OnProgress | None) -> None:
        reader = Reader(options.input, progress)
        opening = importing(
            client,
            tube=options.use,
            on_error=options.on_error,
            resume=options.resume,
            dry_run=options.dry_run,
            spread=options.spread,
            turns=turns,
            summary=summary,
            progress=reader.progress,
        )
        async with opening as importer:
            await reader.read(importer)

    return await carry_out(run)


def _run_import(options: Namespace) -> int:
    with options.input:  # which is to be closed also where no server can be reached
        return connected(import_, each=True, with_away=True)(options)


class Reader:
    """Read the lines of a file for an import, and report the progress in bytes of that file.

    :param file: is open for reading
    :param progress: is called with the progress; None: none is reported
    """

    def __init__(self, file: IO[bytes], progress: OnProgress | None) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size or None  # that of a pipe is unknown
        self._read = 0
        #: the callback for the importer, which adds the bytes that are read; None: there is none
        self.progress: OnProgress | None = None
        if progress is not None:
            self.progress = lambda told: progress(
                replace(told, what="bytes read", done=self._read, total=self._size)
            )

    async def read(self, importer: AnyImporter) -> None:
        """Give the importer all lines of the file, and have it put each as soon as it is there."""
        lines = Lines()
        while not importer.stopped and (chunk := await read_some(self._file.fileno())):
            self._read += len(chunk)
            for line in lines.feed(chunk):
                await importer.take(line)
                if importer.stopped:
                    return
            await importer.flush()
        if not importer.stopped:
            for line in lines.end():
                await self._take_last(importer, line)

    async def _take_last(self, importer: AnyImporter, line: bytes) -> None:
        """Take a line without an end; if it is refused, say that it was cut off."""
        failed = importer.summary.failed
        await importer.take(line)
        if importer.summary.failed > failed:
            importer.summary.notes.append("the last line has no end: was the input cut off?")


def _add_import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the lines of an export; - is standard input")
    parser.add_argument(
        "-u",
        "--use",
        type=tube,
        metavar="TUBE",
        help="put all jobs into this tube, not into those that they were in",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--to",
        type=server_name,
        metavar="NAME",
        help="put all jobs into this one of several servers",
    )
    where.add_argument(
        "--spread",
        action="store_true",
        help="put the jobs into several servers in turn, whatever servers the lines name",
    )
    add_on_error(parser)
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="keep in FILE which lines are done, and put only those that it does not tell of",
    )
    add_dry_run(parser)
    parser.set_defaults(input=None)


def _check_import(parser: ArgumentParser, options: Namespace) -> None:
    if options.to is not None:
        try:
            options.server = f"{options.to}={url_of_server(options, options.to)}"
        except InvalidArgument as error:
            parser.error(str(error))
    options.input = open_input(parser, options.file)


# --- move and copy ----------------------------------------------------------------------------


def transferring(operation: Callable[..., Coroutine[Any, Any, object]], verb: str) -> Command:
    """Return the function that carries out `operation`, which is `admin.move` or `admin.copy`."""

    async def run(client: Client | Clients, options: Namespace) -> int:
        async with AsyncExitStack() as stack:
            to = None
            if options.to is not None:
                url = url_of_server(options, options.to)
                to = await stack.enter_async_context(another_client(options, url))
            call = partial(
                operation,
                client,
                options.selection,
                to=to,
                tube=options.to_tube,
                on_error=options.on_error,
                limit=options.limit,
            )
            return await change_jobs(options, verb, _from_and_to(options), call)

    return run


def _from_and_to(options: Namespace) -> str:
    where = f"of {', '.join(options.tubes)}" if options.tubes else "of all tubes"
    places = [options.to, f"tube {options.to_tube}" if options.to_tube else None]
    return f"{where} to {', '.join(place for place in places if place)}"


def _add_move_arguments(parser: ArgumentParser) -> None:
    _add_transfer_arguments(parser, selection_options.SETTLED)


def _add_transfer_arguments(parser: ArgumentParser, states: Sequence[State] = STATES) -> None:
    selection_options.add_tubes(parser)
    parser.add_argument(
        "--to",
        type=url_or_name,
        metavar="SERVER",
        help="the server that the jobs go to: its URL, or its name if it is one of several",
    )
    parser.add_argument(
        "--to-tube",
        type=tube,
        metavar="TUBE",
        help="the tube that the jobs go to (one of the same name on another server)",
    )
    add_on_error(parser)
    confirm.add_to(parser)
    selection_options.add_limit(parser)
    selection_options.add_to(parser, states=states)


def _check_transfer(parser: ArgumentParser, options: Namespace) -> None:
    selection_options.join_tubes(options)
    if options.to is None and options.to_tube is None:
        parser.error("say where the jobs go: --to SERVER, --to-tube TUBE, or both")
    if options.to is None and (not options.tubes or options.to_tube in options.tubes):
        parser.error(
            f"the jobs would go to the tube {options.to_tube} of the same server: name the tubes "
            "that they come from, which must be others"
        )
    selection_options.check(parser, options)
    confirm.check(parser, options)


def add_on_error(parser: ArgumentParser) -> None:
    """Add ``--on-error``, what to do after a job was refused."""
    parser.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="stop",
        help="after a job was refused: stop, or skip it and go on (%(default)s)",
    )


VERBS = {
    "export": Verb(
        connected(export, each=True),
        _add_export_arguments,
        selection_options.check,
        epilog=EXPORT_EPILOG,
    ),
    "import": Verb(_run_import, _add_import_arguments, _check_import, epilog=IMPORT_EPILOG),
    "move": Verb(
        connected(transferring(admin.move, "Move"), each=True),
        _add_move_arguments,
        _check_transfer,
        epilog=MOVE_EPILOG,
    ),
    "copy": Verb(
        connected(transferring(admin.copy, "Copy"), each=True),
        _add_transfer_arguments,
        _check_transfer,
        epilog=COPY_EPILOG,
    ),
}
