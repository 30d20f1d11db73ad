"""How results are printed: ``--raw`` and ``--json-lines``, the same for every verb that prints."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ..job import Job
from .output import emit_bytes, emit_json, readable


def add_json_lines(parser: ArgumentParser) -> None:
    """Add ``--json-lines`` to a verb that prints JSON."""
    _add_json_lines(parser)


def add_job_formats(parser: ArgumentParser) -> None:
    """Add ``--raw`` and ``--json-lines``, which exclude each other, for a verb about jobs."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--raw",
        action="store_true",
        help="print the body alone, exactly its bytes, with nothing after it; a body may then "
        "contain what controls a terminal",
    )
    _add_json_lines(group)


def _add_json_lines(parser: Any) -> None:
    parser.add_argument(
        "--json-lines", action="store_true", help="print JSON on one line, a line for each result"
    )


def emit_job(job: Job, options: Namespace) -> None:
    """Print a job as the options say: as JSON, or its body alone."""
    if options.raw:
        emit_bytes(job.body)
    else:
        emit_value(readable(job), options)


def emit_value(value: Any, options: Namespace) -> None:
    """Print a result as JSON, on one line if the options say so."""
    emit_json(value, one_line=options.json_lines)
