"""The web console over a server in memory with lively jobs: ``make console``, or run this file.

Nothing outside this process is touched. The port of the console can be given: the next free one
is taken otherwise, from 11380 on.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import math
import random
import signal
import socket
import sys

from beanstalkt import Client, Reject, Retry, Worker, WorkerJob
from beanstalkt.console import Console, Settings
from beanstalkt.metrics.runner import RunnerMetrics
from beanstalkt.metrics.servers import text_of
from beanstalkt.server import Server

NAMES = ("ann", "ben", "cho", "dee", "eve", "fay")


def mail() -> bytes:
    to = f"{random.choice(NAMES)}@example.com"
    return json.dumps({"to": to, "template": "welcome", "language": "en"}).encode()


def thumbnail() -> bytes:
    path = f"/uploads/{random.randrange(10**6):06}.jpg"
    return json.dumps({"path": path, "sizes": [64, 256, 1024]}).encode()


def report() -> bytes:
    rows = [{"day": day, "visits": random.randrange(1000)} for day in range(30)]
    return base64.b64encode(gzip.compress(json.dumps({"rows": rows}).encode()))


async def produce(client: Client) -> None:
    """Put jobs in waves, so that there is something to see."""
    second = 0.0
    while True:
        wave = 1 + math.sin(second / 20)
        for _ in range(random.randint(0, round(6 * wave))):
            client.put(mail(), tube="mail", delay=random.choice((0, 0, 0, 0, 5)))
        for _ in range(random.randint(0, round(3 * wave))):
            client.put(thumbnail(), random.choice((10, 2**31)), tube="thumbnails")
        if random.random() < 0.2:
            client.put(report(), tube="reports/daily", ttr=30)
        if random.random() < 0.05:
            client.put(b"\x00\xff" + random.randbytes(60), tube="legacy.import")
        if random.random() < 0.02:
            client.put(b"{}", tube="audit", delay=3600)
        await asyncio.sleep(0.25)
        second += 0.25


async def send(job: WorkerJob) -> None:
    await asyncio.sleep(random.uniform(0.05, 0.3))
    if random.random() < 0.02:
        raise Reject("the address bounced")


async def draw(job: WorkerJob) -> None:
    await asyncio.sleep(random.uniform(0.2, 1.2))
    if random.random() < 0.05:
        raise Retry(delay=10)


async def summarise(job: WorkerJob) -> None:
    await asyncio.sleep(random.uniform(1, 4))


def free_port(first: int = 11380) -> int:
    for port in range(first, first + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise SystemExit("no port is free for the console")


async def main(port: int) -> None:
    logging.basicConfig(level=logging.ERROR)
    server, quiet = Server(), Server()
    for each in (server, quiet):
        each.listen(0, "127.0.0.1")
    metrics = RunnerMetrics("127.0.0.1", 0)
    workers = [
        Worker(server.url, "mail", send, concurrency=2, observers=[metrics.counts]),
        Worker(server.url, "thumbnails", draw, concurrency=4, observers=[metrics.counts]),
        Worker(server.url, "reports/daily", summarise, observers=[metrics.counts]),
    ]
    console = Console(
        Settings(
            {"demo": server.url, "quiet": quiet.url},
            port=port,
            interval=1,
            runners={"workers": f"http://127.0.0.1:{metrics.port}"},
        ),
        metrics=text_of,
    )
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with metrics, Client.from_url(server.url) as client:
        tasks = [asyncio.ensure_future(produce(client))]
        tasks += [asyncio.ensure_future(worker.run(signals=False)) for worker in workers]
        console.start()
        print(f"the console is at {console.url} (end it with Ctrl-C)", flush=True)
        await over.wait()
        await console.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    server.stop()
    quiet.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else free_port()))
