"""``work --metrics`` as a process, and a Prometheus that scrapes it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beanstalkt.metrics.runner_counts import RunnerCounts
from beanstalkt.worker.config.values import host_and_port

from ..support.beanstalkd import Beanstalkd, free_port
from ..support.prometheus import scraping
from ..support.running import Running, settings
from ..support.waiting import block_until, until

PATIENCE = 30.0


@contextmanager
def working(server: Beanstalkd, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "beanstalkt.cmd", "--server", server.url, "work", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 as long as nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until_served(port: int, path: str, condition: Callable[[str], object]) -> str:
    found = ""

    def served() -> bool:
        nonlocal found
        status, found = get(port, path)
        return status == 200 and bool(condition(found))

    block_until(served, path, timeout=PATIENCE)
    return found


def test_a_runner_serves_its_metrics_and_prometheus_scrapes_them(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    assert beanstalkd.ask(b"put 0 0 60 1\r\nx\r\n") == b"INSERTED 1\r\n"
    port = free_port()
    with working(
        beanstalkd, "--tube", "default", "--exec", "cat", "--metrics", f"127.0.0.1:{port}"
    ):
        text = until_served(port, "/metrics", lambda text: "jobs_total{" in text)
        assert 'outcome="success"' in text
        assert "process_resident_memory_bytes" in text
        assert get(port, "/healthz") == (200, "ok\n")
        assert json.loads(get(port, "/status")[1])["tubes"][0]["handler"]
        assert get(port, "/other")[0] == 404
        with scraping({"runner": port}, tmp_path) as prometheus:
            query = 'sum(beanstalkt_runner_jobs_total{outcome="success"})'
            prometheus.until(query, "1")


def test_an_address_that_is_taken_is_told_at_once(beanstalkd: Beanstalkd) -> None:
    command = f"--server {beanstalkd.url} work --tube default --exec cat"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "beanstalkt.cmd", *command.split()),
            *("--metrics", f"127.0.0.1:{beanstalkd.port}"),
        ],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert b"in use" in done.stderr


async def test_a_lost_connection_that_is_back_is_counted(beanstalkd: Beanstalkd) -> None:
    counts = RunnerCounts()
    chosen = settings(beanstalkd, "mail:2", options={"command": "cat"})
    async with Running(chosen, observers=[counts]):
        ((_, each),) = counts.tubes().items()
        assert each.reconnects == 0
        beanstalkd.restart()
        await until(lambda: each.reconnects == each.slots, "each slot is connected again")


@pytest.mark.parametrize("address", ["", "x", "x:", "x:99999", "1:2:3", "[::1]", "::1:80", "a:٣"])
def test_an_address_that_is_none_is_told_with_the_others(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT is expected"):
        host_and_port(address)
    assert host_and_port("[::1]:80") == ("::1", 80)
    assert host_and_port(":80") == ("127.0.0.1", 80)
