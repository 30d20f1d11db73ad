"""Measure the runner: commands against a bare loop, a coroutine against huey's threads."""

from __future__ import annotations

import importlib
import logging
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from beanstalkt.worker import Worker, WorkerJob
from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.runner import Runner
from tests.support.beanstalkd import HOST

from .bare import load as put_all
from .functions import redis_server, signals_kept
from .http_jobs import logged
from .registry import BODY, Address, Stopwatch, at_least, measure, rate

WORKERS = 4
SLOTS = 50
THREADS = 4

COMMAND_SHARE = 0.02
HANDLER_SHARE = 0.25


@measure(
    f"/bin/cat, {WORKERS} at once", "a bare loop of subprocess.Popen and wait", share=COMMAND_SHARE
)
def bare(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Run the commands alone, without jobs."""

    def run(_: int) -> None:
        process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(BODY)
        process.stdin.close()
        assert process.wait() == 0

    with ThreadPoolExecutor(WORKERS) as pool, watch:
        for _ in pool.map(run, range(jobs)):
            pass


@measure(
    f"/bin/cat, {WORKERS} at once",
    "the runner: reserve, command, delete, a line in the log",
    share=COMMAND_SHARE,
)
async def commands(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Run a command for each job, with the runner."""
    put_all(address, jobs)
    with logged():
        flags = Flags(
            {"command": "/bin/cat"},
            [f"default:{WORKERS}"],
            server="beanstalk://{}:{}".format(*address),
        )
        running = Runner(load(flags, {}), max_jobs=jobs)
        with watch:
            await running.run()


@measure(
    "a Python handler that returns at once",
    f"huey: {THREADS} threads, a local Redis",
    share=HANDLER_SHARE,
)
def huey(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Call a function for each job in threads of huey."""
    # Without an import statement, because huey has no type annotations.
    redis_huey = importlib.import_module("huey").RedisHuey
    done = threading.Event()
    left = jobs

    def nothing() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    with redis_server() as port, signals_kept():
        queue = redis_huey("benchmark", host=HOST, port=port, results=False)

        put = queue.task()(nothing)
        for _ in range(jobs):
            put()
        logging.getLogger("huey").setLevel(logging.WARNING)
        consumer = queue.create_consumer(workers=THREADS)
        with watch:
            consumer.start()
            assert done.wait(50)
        consumer.stop(graceful=True)


@measure(
    "a Python handler that returns at once",
    f"the runner: {SLOTS} slots",
    share=HANDLER_SHARE,
    commands=3,
)
async def handler(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Await a coroutine for each job, with the runner."""

    async def nothing(job: WorkerJob) -> None:
        pass

    put_all(address, jobs)
    worker = Worker(
        "beanstalk://{}:{}".format(*address),
        "default",
        nothing,
        concurrency=SLOTS,
        max_jobs=jobs,
    )
    with watch:  # this includes the time to connect
        await worker.run()


at_least(0.8, f"/bin/cat in {WORKERS} workers, against a bare loop of Popen", rate(commands, bare))
at_least(5.0, f"an async handler in {SLOTS} slots, against huey's threads", rate(handler, huey))
