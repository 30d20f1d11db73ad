"""The other ways to a server: unix sockets, IPv6, names with several addresses."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from beanstalkt import Client, ConnectionLost, TimedOut

from ..support import program
from ..support.beanstalkd import EXECUTABLE
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.ports import free_port
from ..support.waiting import until

DELAY = 0.02  # seconds between two attempts


def start(kind: str, *, path: str = "", port: int = 0) -> subprocess.Popen[bytes]:
    """A real server or the embedded one, on a unix socket or on a port of ::1."""
    if kind == "embedded":
        where = ["--unix", path] if path else ["--host", "::1", "--port", str(port)]
        return program.start(*program.COMMAND_LINE, "serve", *where, stdin=subprocess.DEVNULL)
    if EXECUTABLE is None:
        pytest.skip("beanstalkd is not installed")
    where = ["-l", f"unix:{path}"] if path else ["-l", "::1", "-p", str(port)]
    return subprocess.Popen([EXECUTABLE, *where], stdin=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


@pytest.fixture(params=["beanstalkd", "embedded"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def path(tmp_path: Path, kind: str) -> Iterator[str]:
    """A unix socket that a server listens on; its name must be quoted in a URL."""
    # Not under tmp_path as it is: such a path may have no more than 107 bytes.
    directory = os.path.relpath(tmp_path)
    path = min(f"{tmp_path}/a socket%20", f"{directory}/a socket%20", key=len)
    process = start(kind, path=path)
    yield path
    stop(process)


async def exercise(client: Client) -> None:
    assert await client.put(b"job") == 1
    job = await client.reserve(0)
    assert job.body == b"job"
    await job.delete()
    puts = [client.put(bytes(60_000)) for _ in range(300)]
    assert await asyncio.gather(*puts) == list(range(2, 302))
    assert len(await client.put_many([b"job"] * 3000)) == 3000
    await asyncio.gather(client.watch("empty"), client.ignore("default"))
    with pytest.raises(TimedOut):
        await client.reserve(0)


async def test_a_unix_socket(path: str) -> None:
    async with nothing_left(), Client(unix_path=path, reconnect_delay=DELAY) as client:
        await exercise(client)


async def test_a_unix_socket_by_url(path: str) -> None:
    url = "unix://" + os.path.abspath(path).replace("%", "%25").replace(" ", "%20")
    async with nothing_left(), Client.from_url(url, reconnect_delay=DELAY) as client:
        await exercise(client)
        assert str(client.address) == url


async def test_a_unix_socket_comes_back(tmp_path: Path, kind: str) -> None:
    path = f"{tmp_path}/s"
    client = Client.from_url(f"unix://{path}", reconnect_delay=DELAY)
    connecting = client.connect()
    await asyncio.sleep(DELAY)
    assert not connecting.done()
    process = start(kind, path=path)
    try:
        await connecting
        await client.use("x")
        stop(process)
        await until(client.closed)
        with pytest.raises(ConnectionLost, match=f"unix://{path}"):
            await client.put(b"job")
        process = start(kind, path=path)
        await until(lambda: not client.closed())
        assert await client.list_tube_used() == "x"
    finally:
        stop(process)
        await client.close()


async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "missing")
    client = Client(unix_path=path, connect_timeout=0.1, reconnect_delay=DELAY)
    with pytest.raises(ConnectionLost, match=path):
        await client.connect()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
@pytest.mark.parametrize("form", ["beanstalk://[::1]:{}", "beanstalk://[0:0:0:0:0:0:0:1]:{}"])
async def test_ipv6(form: str, kind: str) -> None:
    port = free_port()
    process = start(kind, port=port)
    try:
        async with (
            nothing_left(),
            Client.from_url(form.format(port), reconnect_delay=DELAY) as client,
        ):
            assert f":1]:{port}" in str(client.address)
            await exercise(client)
    finally:
        stop(process)


async def test_a_name_is_tried_with_all_its_addresses(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    getaddrinfo = socket.getaddrinfo

    def several(host: str, *arguments: object, **options: object) -> list[object]:
        if host != "several.example":
            return getaddrinfo(host, *arguments, **options)  # type: ignore[return-value, arg-type]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))
            for address in ("127.0.0.2", "127.0.0.3", server.host)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    async with Client("several.example", server.port) as client:
        assert await client.put(b"job") == 1
