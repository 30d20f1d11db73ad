"""Measure jobs as HTTP requests, against the requests alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.httpclient import AsyncHTTPClient

from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.log.lines import TextFormatter
from beanstalkt.worker.runner import Runner

from . import web
from .bare import load as put_all
from .registry import BODY, Address, Stopwatch, at_least, measure, rate

SLOTS = 50
SHARE = 0.1


@measure("HTTP, 50 at once", "a bare AsyncHTTPClient loop", share=SHARE)
async def bare(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Send the requests alone, without jobs."""

    async def post(jobs: range) -> None:
        for _ in jobs:
            answer = await client.fetch(url, method="POST", body=BODY)
            assert answer.code == 200

    client = AsyncHTTPClient(force_instance=True, max_clients=SLOTS)
    with web.serving() as url, watch:
        await asyncio.gather(*(post(range(slot, jobs, SLOTS)) for slot in range(SLOTS)))
    client.close()


@measure("HTTP, 50 at once", "the runner: reserve, request, delete", share=SHARE)
async def runner(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Send a request for each job, with the runner."""
    put_all(address, jobs)
    with web.serving() as url, logged():
        flags = Flags(
            {"http": url}, [f"default:{SLOTS}"], server="beanstalk://{}:{}".format(*address)
        )
        running = Runner(load(flags, {}), max_jobs=jobs)
        with watch:
            await running.run()


@contextmanager
def logged() -> Iterator[None]:
    """Log a line for each job, as on the command line, but to the null device."""
    log = logging.getLogger("beanstalkt.worker")
    level, propagate = log.level, log.propagate
    with open("/dev/null", "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(TextFormatter())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.propagate = propagate
            log.setLevel(level)
            log.removeHandler(handler)


at_least(0.7, "HTTP jobs in 50 slots, against the requests alone", rate(runner, bare))
