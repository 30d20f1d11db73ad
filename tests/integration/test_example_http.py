"""The web application in examples/http, with the runner in front of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient

from beanstalkt import Client

from ..support.beanstalkd import Beanstalkd, free_port

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "http"


CONFIRMED = {
    json.dumps({"customer": f"customer {number}", "state": "confirmed"}) for number in (1, 2, 3, 4)
}


@asynccontextmanager
async def program(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=folder)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def get(url: str) -> str:
    """The answer, once there is somebody to give it."""
    while True:
        try:
            answer = await AsyncHTTPClient().fetch(url, raise_error=False)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return answer.body.decode()


async def test_orders_are_taken_and_confirmed(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    app = [str(EXAMPLE / "app.py"), "--port", str(port), "--server", beanstalkd.url]
    work = ["-m", "beanstalkt.cmd", "--server", beanstalkd.url, "work"]
    work += ["--config", str(EXAMPLE / "worker.ini"), "--http", f"{url}/tasks/confirm"]
    async with (
        Client.from_url(beanstalkd.url) as client,
        program(tmp_path, *app) as shop,
        program(tmp_path, *work) as worker,
    ):
        await get(f"{url}/orders/1")
        for number in (1, 2, 3, 4):
            order = json.dumps({"customer": f"customer {number}"})
            answer = await AsyncHTTPClient().fetch(f"{url}/orders", method="POST", body=order)
            assert (answer.code, json.loads(answer.body)) == (202, {"order": number})
        # The third at once was told to come back in a second.
        while {await get(f"{url}/orders/{n}") for n in (1, 2, 3, 4)} != CONFIRMED:
            assert shop.returncode is worker.returncode is None
            await asyncio.sleep(0.05)
        lost = await client.put(b'{"order": 99}', tube="orders")
        while (await client.stats_job(lost))["state"] != "buried":
            await asyncio.sleep(0.05)


async def test_nobody_else_may_confirm(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    app = [str(EXAMPLE / "app.py"), "--port", str(port), "--server", beanstalkd.url]
    async with program(tmp_path, *app):
        await get(f"{url}/orders/1")
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = await AsyncHTTPClient().fetch(
                f"{url}/tasks/confirm",
                method="POST",
                body="{}",
                headers=headers,
                raise_error=False,
            )
            assert answer.code == 401
