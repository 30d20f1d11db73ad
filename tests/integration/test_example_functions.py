"""The programs in examples/functions and examples/enqueue, as their texts say to run them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from ..support.beanstalkd import Beanstalkd, free_port

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@asynccontextmanager
async def program(folder: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, *words], cwd=EXAMPLES / folder, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def worker(server: Beanstalkd, *words: str) -> list[str]:
    return ["-m", "beanstalkt.cmd", "--server", server.url, "work", *words]


async def test_a_table_of_functions(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    schedule = ["schedule.py", "--server", beanstalkd.url, "--folder", str(tmp_path)]
    async with (
        program("functions", *worker(beanstalkd, "--config", "worker.ini")) as work,
        program("functions", *schedule) as scheduling,
    ):
        assert await scheduling.wait() == 0
        wanted = {
            tmp_path / "cat.small": "picture" * 14 + "pi",
            tmp_path / "greeting.txt": "Hello, ada!\n",
            tmp_path / "report.txt": "one\ntwo\n",
        }
        while not all(path.exists() and path.read_text() == text for path, text in wanted.items()):
            assert work.returncode is None
            await asyncio.sleep(0.05)
        assert work.stdout is not None
        assert b"2 lines were wanted" in await work.stdout.readline()


async def post(url: str, body: str) -> HTTPResponse:
    """The answer, once there is somebody to give it."""
    while True:
        try:
            return await AsyncHTTPClient().fetch(url, method="POST", body=body, raise_error=False)
        except OSError:
            await asyncio.sleep(0.05)


async def test_an_application_that_schedules(beanstalkd: Beanstalkd) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/signup"
    app = ["app.py", "--port", str(port), "--server", beanstalkd.url]
    work = worker(beanstalkd, "--tube", "members:4", "--call", "tasks:TABLE")
    async with program("enqueue", *app), program("enqueue", *work) as working:
        answer = await post(url, '{"name": "ada"}')
        assert answer.code == 202
        assert isinstance(json.loads(answer.body)["job"], int)
        assert working.stdout is not None
        assert await working.stdout.readline() == b"Welcome, ada!\n"
        assert (await post(url, "no JSON")).code == 400


async def test_without_a_server_the_application_says_so(beanstalkd: Beanstalkd) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/signup"
    async with program("enqueue", "app.py", "--port", str(port), "--server", beanstalkd.url):
        assert (await post(url, '{"name": "ada"}')).code == 202
        beanstalkd.kill()
        while (answer := await post(url, '{"name": "bob"}')).code != 503:
            await asyncio.sleep(0.01)
        assert "error" in json.loads(answer.body)
