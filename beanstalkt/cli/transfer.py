"""The verbs that take jobs elsewhere with all that they have: export and import."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import IO, get_args

from ..admin.exporting import export_jobs
from ..admin.importing import Importer, opened
from ..admin.progress import OnError, OnProgress, Summary
from ..client.client import Client
from . import selection_options
from .confirm import add_dry_run
from .connected import connected
from .converters import tube
from .input import Lines, open_input, read_some
from .output import emit_bytes
from .progress import carry_out
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
  beanstalkt export -u mail --state buried > buried.jsonl
  beanstalkt export -u mail | beanstalkt import --server beanstalk://other:11300 -
"""

IMPORT_EPILOG = """\
Each job gets the tube, priority, ttr, state and delay that its line tells; fields
that are missing are as for put. Buried jobs are buried again, without a moment at
which a worker could reserve them. Jobs that were reserved become ready. The number
of jobs is printed.

With --resume, the file tells which lines were done, so the same command can be
given again after it was interrupted, killed or refused: lines that are done are
not put again. Some hundreds of jobs are under way at a time. When the program was
killed, those are looked for in the server; what is not found there is put.

examples:
  beanstalkt import jobs.jsonl
  beanstalkt import --use mail-again --on-error skip jobs.jsonl
  beanstalkt import --resume jobs.journal jobs.jsonl
"""


# --- export ---------------------------------------------------------------------------------


async def export(client: Client, options: Namespace) -> int:
    """Print the lines of the jobs of the selection."""

    async def run(summary: Summary, progress: OnProgress | None) -> None:
        pieces: list[bytes] = []
        size, written = 0, time.monotonic()
        try:
            async for line in export_jobs(
                client, options.selection, limit=options.limit, summary=summary, progress=progress
            ):
                pieces.append(line)
                size += len(line)
                if size >= WRITE_SIZE or time.monotonic() - written >= WRITE_INTERVAL:
                    data, pieces, size = b"".join(pieces), [], 0
                    emit_bytes(data)
                    written = time.monotonic()
        finally:
            if pieces:
                emit_bytes(b"".join(pieces))

    return await carry_out(run, counts=False)


def _add_export_arguments(parser: ArgumentParser) -> None:
    selection_options.add_to(parser)
    selection_options.add_limit(parser)


# --- import ---------------------------------------------------------------------------------


async def import_(client: Client, options: Namespace) -> int:
    """Put the jobs of the lines of a file."""

    async def run(summary: Summary, progress: OnProgress | None) -> None:
        reader = Reader(options.input, progress)
        importing = opened(
            client,
            tube=options.use,
            on_error=options.on_error,
            resume=options.resume,
            dry_run=options.dry_run,
            summary=summary,
            progress=reader.progress,
        )
        async with importing as importer:
            await reader.read(importer)

    return await carry_out(run)


def _run_import(options: Namespace) -> int:
    with options.input:  # which is to be closed also where no server can be reached
        return connected(import_)(options)


class Reader:
    """Read the lines of a file for an import, and tell how many of its bytes are read.

    :param progress: gets the progress of the import; None: nobody does
    """

    def __init__(self, file: IO[bytes], progress: OnProgress | None) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size or None  # that of a pipe is unknown
        self._read = 0
        #: what the importer is to call
        self.progress: OnProgress | None = None
        if progress is not None:
            self.progress = lambda told: progress(
                replace(told, what="bytes read", done=self._read, total=self._size)
            )

    async def read(self, importer: Importer) -> None:
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

    async def _take_last(self, importer: Importer, line: bytes) -> None:
        """Take a line without an end; if it is refused, say that it was cut off."""
        summary = importer.summary
        failed = summary.failed
        await importer.take(line)
        if summary.failed > failed:
            summary.notes.append("the last line has no end: was the input cut off?")


def _add_import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the lines of an export; - is standard input")
    parser.add_argument(
        "-u",
        "--use",
        type=tube,
        metavar="TUBE",
        help="put all jobs into this tube, not into those that they were in",
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
    options.input = open_input(parser, options.file)


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
        connected(export), _add_export_arguments, selection_options.check, epilog=EXPORT_EPILOG
    ),
    "import": Verb(_run_import, _add_import_arguments, _check_import, epilog=IMPORT_EPILOG),
}
