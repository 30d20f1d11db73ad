"""Measure jobs that are exported, imported and moved, against the bare commands of the same."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import beanstalkt
from beanstalkt import admin

from .bare import NAP, PUT, check, load, pipeline
from .idle import resident
from .registry import Address, Stopwatch, at_least, at_most, measure, rate
from .servers import empty

SHARE = 1.25
"""Of the jobs of a round: 50,000 by default."""

EXPORT = "export + import"
MOVE = "move to another server"

LOOK_LINES = 17 + 2
"""Lines of the reply to stats-job, and to peek."""

IN_ONE_GO = 128
"""Jobs that the bare sockets reserve in one go, as the server wants it: few held at a time."""


def ids(jobs: int) -> Iterator[range]:
    """Yield the ids of a new server's jobs in the ranges that are reserved in one go."""
    for first in range(1, jobs + 1, IN_ONE_GO):
        yield range(first, min(first + IN_ONE_GO, jobs + 1))


@contextmanager
def connected(*addresses: Address) -> Iterator[list[socket.socket]]:
    """Connect a bare socket to each server."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(each)) for each in addresses]


@contextmanager
def memory(watch: Stopwatch) -> Iterator[None]:
    """Measure by how many megabytes the resident memory of this process grows at the most."""
    process = Path("/proc/self")
    (process / "clear_refs").write_text("5")  # begin to look for the highest anew
    before = resident(process, "VmRSS")
    yield
    watch.memory = resident(process, "VmHWM") - before


@measure(EXPORT, "bare sockets: stats-job, peek, put", commands=3, share=SHARE)
def bare_export(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Read the jobs of one server, and put as many into another one."""
    load(address, jobs)
    looks = b"".join(b"stats-job %d\r\npeek %d\r\n" % (each, each) for each in range(1, jobs + 1))
    with empty() as other, connected(address, other) as (source, target):
        with watch:
            pipeline(source, looks, LOOK_LINES * jobs)
            pipeline(target, PUT * jobs, jobs, nap=NAP)
        check(target, b"current-jobs-ready: %d" % jobs)


@measure(EXPORT, "export_jobs, then import_jobs", commands=3, share=SHARE)
async def export_import(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Export the jobs of one server, and import them into another one."""
    load(address, jobs)
    with empty() as other:
        async with beanstalkt.Client(*address) as source, beanstalkt.Client(*other) as target:
            with memory(watch), watch:
                lines = admin.export_jobs(source, admin.select())
                summary = await admin.import_jobs(target, lines)
    assert summary.done == jobs


@measure(MOVE, "bare sockets: reserve-job, put, delete", commands=3, share=SHARE)
def bare_move(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve the jobs of one server, put as many into another one, and delete them."""
    load(address, jobs)
    with empty() as other, connected(address, other) as (source, target):
        with watch:
            for part in ids(jobs):
                reserves = b"".join(b"reserve-job %d\r\n" % each for each in part)
                pipeline(source, reserves, 2 * len(part))
                pipeline(target, PUT * len(part), len(part))
                pipeline(source, b"".join(b"delete %d\r\n" % each for each in part), len(part))
        check(target, b"current-jobs-ready: %d" % jobs)
        check(source, b"cmd-delete: %d" % jobs)


@measure(MOVE, "move", commands=3, share=SHARE)
async def move(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Move the jobs of one server to another one."""
    load(address, jobs)
    with empty() as other:
        async with beanstalkt.Client(*address) as source, beanstalkt.Client(*other) as target:
            with memory(watch), watch:
                summary = await admin.move(source, admin.select(), to=target)
    assert summary.done == jobs


at_least(
    0.4,
    "export + import, against bare sockets that read and put",
    rate(export_import, bare_export),
)
at_most(
    30.0,
    "MB more than an idle client, while jobs are exported and imported",
    lambda samples: samples[export_import].memory,
)
at_most(
    30.0,
    "MB more than an idle client, while jobs are moved",
    lambda samples: samples[move].memory,
)
at_least(0.5, "move to another server, against the three bare commands", rate(move, bare_move))
