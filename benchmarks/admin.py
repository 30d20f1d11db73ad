"""Measure what is done to many jobs, against a bare socket that writes the same commands ahead."""

from __future__ import annotations

import socket

import beanstalkt
from beanstalkt import admin

from .bare import check, load, pipeline
from .registry import Address, Stopwatch, at_least, at_most, measure, rate
from .transfer import LOOK_LINES, memory


@measure("list with bodies", "bare socket, all written ahead", commands=2)
def bare_list(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Ask for the statistics and the body of each job."""
    load(address, jobs)
    commands = b"".join(b"stats-job %d\r\npeek %d\r\n" % (i, i) for i in range(1, jobs + 1))
    with socket.create_connection(address) as sock, watch:
        pipeline(sock, commands, jobs * LOOK_LINES)


@measure("list with bodies", "this client, list_jobs", commands=2)
async def list_jobs(address: Address, jobs: int, watch: Stopwatch) -> None:
    """List the jobs with their bodies."""
    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with memory(watch), watch:
            found = 0
            async for _ in admin.list_jobs(client, admin.select("default")):
                found += 1
        if found != jobs:
            raise ValueError(f"{found} jobs were found of {jobs}")


@measure("clear a tube", "bare socket, deletes written ahead")
def bare_clear(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Delete the jobs by their ids, which are known."""
    load(address, jobs)
    commands = b"".join(b"delete %d\r\n" % job_id for job_id in range(1, jobs + 1))
    with socket.create_connection(address) as sock:
        with watch:
            pipeline(sock, commands, jobs)
        check(sock, b"cmd-delete: %d" % jobs)


@measure("clear a tube", "this client, clear")
async def clear(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Find the jobs of the tube, in every state, and delete them."""
    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with memory(watch), watch:
            summary = await admin.clear(client, admin.select("default"))
        if summary.done != jobs:
            raise ValueError(f"{summary.done} jobs were deleted of {jobs}")


@measure("clear a tube", "this client, clear of ready jobs alone")
async def clear_ready(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Find the ready jobs of the tube, reserve each to be sure of its state, and delete them."""
    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with watch:
            summary = await admin.clear(client, admin.select("default", "ready"))
        if summary.done != jobs:
            raise ValueError(f"{summary.done} jobs were deleted of {jobs}")


at_least(0.6, "list with bodies, against the bare socket", rate(list_jobs, bare_list))
at_least(0.6, "clear a tube, against the deletes of the bare socket", rate(clear, bare_clear))
at_most(
    30.0,
    "MB more than an idle client, while jobs are listed",
    lambda samples: samples[list_jobs].memory,
)
at_most(
    30.0,
    "MB more than an idle client, while a tube is cleared",
    lambda samples: samples[clear].memory,
)
