"""Plain Python functions as jobs, in child processes, against a worker that calls them itself."""

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
"""Less, because it takes several times as long."""

REDIS = shutil.which("redis-server")


def nothing(number: int) -> None:
    """The job: what is measured is all that is around it."""


@measure("plain functions", "RQ: SimpleWorker, which calls them itself", share=RQ_SHARE)
def simple_worker(address: Address, jobs: int, watch: Stopwatch) -> None:
    import redis
    import rq

    with redis_server() as port, signals_kept():
        connection = redis.Redis(HOST, port)
        queue = rq.Queue(connection=connection)
        for number in range(jobs):
            queue.enqueue(nothing, number, result_ttl=0)
        worker = rq.SimpleWorker([queue], connection=connection)
        with watch:
            # Without the lines that it would write for each job.
            worker.work(burst=True, logging_level="WARNING")
        assert not queue.count
        connection.close()


@measure(
    "plain functions", f"the runner: {CHILDREN} children, killed when they are late", share=SHARE
)
async def runner(address: Address, jobs: int, watch: Stopwatch) -> None:
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
        with watch:  # with the time to start the children
            await running.run()


@contextmanager
def redis_server() -> Iterator[int]:
    """The port of a fresh one."""
    if REDIS is None:
        # As for a client that is not installed: the measure is skipped, and says why.
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
    """RQ takes the signals for itself: the one of the benchmark's own time limit too."""
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
