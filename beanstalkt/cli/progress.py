"""Progress on a terminal, the interrupt between two jobs, and the summary at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from ..admin.progress import OnProgress, Progress, Summary
from ..admin.record import STATES
from ..errors import BeanstalkException
from .exit_status import DONE, INTERRUPTED, REFUSED
from .output import emit, ranges
from .stdio import say

if TYPE_CHECKING:
    from tqdm import tqdm

WAITING = (
    "interrupted: waiting for the server to answer what is under way; another Ctrl-C ends the "
    "program without the answers"
)

SLOW = 1.0
"""Seconds after an interrupt, after which it is told what is being waited for."""

Operation = Callable[[Summary, OnProgress | None], Awaitable[object]]
"""Carry out an operation, which fills in the summary and reports progress."""


@contextmanager
def shown_progress() -> Iterator[OnProgress | None]:
    """Show a progress bar on standard error, and yield the callback that updates the bar.

    Yields None, and shows nothing, if standard error is no terminal or tqdm (the extra ``cli``) is
    not installed.
    """
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    bar = tqdm(unit="", unit_scale=True, file=sys.stderr, leave=False)
    with bar:
        yield lambda progress: _show(bar, progress)


@contextmanager
def beside_progress() -> Iterator[None]:
    """Hide the progress bar while the body of the ``with`` prints results to the terminal."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:  # no bar was made
        yield
        return
    with tqdm.tqdm.external_write_mode():
        yield


def _show(bar: tqdm[NoReturn], progress: Progress) -> None:
    bar.total = progress.total
    bar.n = progress.done
    bar.set_description_str(progress.what, refresh=False)
    bar.set_postfix_str(f"{progress.jobs:,} jobs", refresh=False)
    bar.refresh()


def end() -> NoReturn:
    """End the program now, as interrupted."""
    os._exit(INTERRUPTED)


@contextmanager
def interruptible(at_once: Callable[[], NoReturn] = end) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM cancel the task of the body, which so ends between two jobs.

    :param at_once: called at the second signal, to end the program
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    before: dict[signal.Signals, Any] = {}
    waiting: asyncio.TimerHandle | None = None

    def first(*_: object) -> None:
        # Not by the loop: the second signal must be heard where a write or a search blocks it.
        for number in before:
            signal.signal(number, lambda *_: at_once())
        loop.call_soon_threadsafe(cancel)

    def cancel() -> None:
        nonlocal waiting
        waiting = loop.call_later(SLOW, say, WAITING)
        task.cancel()

    with contextlib.suppress(ValueError):  # in a thread that gets no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if waiting is not None:
            waiting.cancel()
            # Else a Ctrl-C after this one would not be known as such (from Python 3.11 on).
            getattr(task, "uncancel", int)()


async def carry_out(operation: Operation, *, counts: bool = True) -> int:
    """Carry out an operation on many jobs, with progress and interrupts; return the exit status.

    The summary is printed also where an interrupt or an error ends the operation before its end.

    :param counts: whether the result to print is the number of jobs that were done
    """
    summary = Summary()

    def at_once() -> NoReturn:
        end_at_once(summary, counts=counts)

    with interruptible(at_once), shown_progress() as progress:
        try:
            await operation(summary, progress)
        except asyncio.CancelledError:
            summary.interrupted = True
        except BeanstalkException:
            report(summary, counts=counts)
            raise
        except BrokenPipeError:
            raise  # whoever read the results has seen enough
        except OSError:
            if counts:
                report(summary, counts=False)  # standard output may be what cannot be written
            else:
                say(f"not all of what was {summary.action} is written")
            raise
    return report(summary, counts=counts)


def end_at_once(summary: Summary, *, counts: bool) -> NoReturn:
    """End the program without the server's answers to what is under way; tell what is known.

    :param counts: whether to print the number of jobs that were done
    """
    # Called by a signal: what it interrupts may be a write to the same stream (RuntimeError), and
    # where this one blocks, the next signal ends the program.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, RuntimeError), beside_progress():
        summary.add_up()
        if counts:
            say(
                f"ended at once: {summary.action} {counted_jobs(summary)}; some more may have "
                "been, whose answers had not come"
            )
            for name, own in summary.servers.items():
                say(f"{name}: {summary.action} {counted_jobs(own)}")
            emit(str(summary.done))
        else:
            say(f"ended at once: not all of what was {summary.action} is written")
    end()


def report(summary: Summary, *, counts: bool = True) -> int:
    """Print the number of jobs that were done, and the summary; return the exit status.

    :param counts: whether to print the number
    """
    try:
        if counts:
            emit(str(summary.done))
    finally:  # what was done is told also where standard output cannot be written
        for line in lines(summary):
            say(line)
    if summary.interrupted:
        return INTERRUPTED
    return DONE if summary.ok else REFUSED


def lines(summary: Summary) -> Iterator[str]:
    """Yield the lines that tell a summary; of several servers, the sums and then each of them."""
    yield _headline(summary)
    if not summary.servers:
        yield from _details(summary)
        return
    if summary.noun == "line":  # the numbers of lines are those of one input for all servers
        yield from _failures(summary, "")
    yield from summary.notes
    for name, own in summary.servers.items():
        yield f"{name}: {_headline(own)}"
        for line in _details(own, name):
            yield f"{name}: {line}"


def _headline(summary: Summary) -> str:
    count = counted_jobs(summary)
    if summary.interrupted:
        return f"interrupted: {summary.action} {count}, and left the rest as it was"
    if summary.dry_run:
        return f"would have {summary.action} {count}; nothing was changed"
    return f"{summary.action} {count}"


def _details(summary: Summary, server: str | None = None) -> Iterator[str]:
    """Yield what is to be told besides the number of jobs that were done.

    :param server: the name of the server, if there are several
    """
    if summary.limited:
        yield "stopped at the limit: there may be more"
    if summary.vanished:
        were = "was" if summary.vanished == 1 else "were"
        yield f"{summary.vanished:,} {were} gone, or taken by a worker, before their turn"
    for reason, number in summary.skipped.items():
        yield f"left {number:,} alone: {reason}"
    if summary.unknown:
        yield (
            f"of {summary.unknown:,} more it is not known whether they were {summary.action}: the "
            "connection was lost before the reply"
        )
    if summary.noun == "job" or server is None:
        yield from _failures(summary, f"{server}/" if server else "")
    yield from summary.notes
    if summary.range is not None:
        first, last = summary.range
        yield f"looked at the ids {first:,} to {last:,}; jobs put since are not among them"


def _failures(summary: Summary, prefix: str) -> Iterator[str]:
    """Yield the refusals by their reasons.

    :param prefix: what ids begin with
    """
    by_reason: dict[str, list[int]] = {}
    for number, reason in summary.failures:
        by_reason.setdefault(reason, []).append(int(number))
    for reason, numbers in by_reason.items():
        noun = summary.noun if len(numbers) == 1 else f"{summary.noun}s"
        yield f"{noun} {ranges(sorted(numbers), prefix)}: {reason}"
    if summary.failed > len(summary.failures):
        yield f"{summary.failed - len(summary.failures):,} more failed"


_ORDER: dict[str, int] = {state: place for place, state in enumerate(STATES)}


def counted_jobs(summary: Summary) -> str:
    """Return the number of jobs in words, with the states that they were found in."""
    found = sorted(summary.states.items(), key=lambda each: _ORDER.get(each[0], len(_ORDER)))
    states = ", ".join(f"{count:,} {state}" for state, count in found)
    noun = "job" if summary.done == 1 else "jobs"
    return f"{summary.done:,} {noun}{f' ({states})' if states else ''}"
