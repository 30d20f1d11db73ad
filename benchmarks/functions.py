"""Measure plain functions in child processes, against a worker that calls them itself."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from beanstalkt import Client
from beanstalkt.dispatch.call import encode
from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.runner import Runner
from tests.support.beanstalkd import HOST, free_port

from .http_jobs import logged
from .registry import Address, Stopwatch, at_least, measure, rate

CHILDREN = 4
SHARE = 0.1
RQ_SHARE = 0.02
"""The share of the jobs for RQ, which takes several times as long."""

REDIS = shutil.which("redis-server")


def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around the call."""


@measure("plain functions", "RQ: SimpleWorker, which calls them itself", share=RQ_SHARE)
def simple_worker(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Call the function in the process of RQ's worker."""
    import redis
    import rq

    with redis_server() as port, signals_kept():
        connection = redis.Redis(HOST, port)
        queue = rq.Queue(connection=connection)
        for number in range(jobs):
            queue.enqueue(nothing, number, result_ttl=0)
        worker = rq.SimpleWorker([queue], connection=connection)
        with watch:
            # A higher level, because at INFO the worker logs lines for each job.
            worker.work(burst=True, logging_level="WARNING")
        assert not queue.count
        connection.close()


@measure(
    "plain functions", f"the runner: {CHILDREN} children, killed when they are late", share=SHARE
)
async def runner(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Call the function in child processes of the runner."""
    host, port = address
    async with Client(host, port) as client:
        await client.put_many(encode("nothing", [number], {}) for number in range(jobs))
    flags = Flags(
        {"call": f"{__name__}:nothing"},
        [f"default:{CHILDREN}"],
        server=f"beanstalk://{host}:{port}",
    )
    with logged():
        running = Runner(load(flags, {}), max_jobs=jobs)
        with watch:  # this includes the start of the children
            await running.run()


@contextmanager
def redis_server() -> Iterator[int]:
    """Start a Redis server; give its port."""
    if REDIS is None:
        # The measure is skipped with this reason, as if a client were not installed.
        raise ModuleNotFoundError("redis-server is not installed")
    port = free_port()
    words = [REDIS, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection((HOST, port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, "redis-server ended at once"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.005)
            yield port
        finally:
            process.terminate()


@contextmanager
def signals_kept() -> Iterator[None]:
    """Restore the signal handlers that RQ or huey replaces, among them that of the time limit."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


at_least(
    5.0,
    f"plain functions in {CHILDREN} children, against RQ's SimpleWorker",
    rate(runner, simple_worker),
)
