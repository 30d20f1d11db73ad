"""``demo.py`` as a new user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .support.beanstalkd import Beanstalkd
from .support.ports import free_port

DEMO = Path(__file__).parent.parent / "demo.py"


def lines(job_id: int) -> str:
    return (
        f"Queued a job with id {job_id}\n"
        f"Reserved job {{'body': b'A job to work on', 'id': {job_id}}}\n"
        f"Deleted job with id {job_id}\n"
    )


def run(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(DEMO), url],
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_it_uses_the_server_that_is_there(beanstalkd: Beanstalkd) -> None:
    assert beanstalkd.ask(b"put 0 0 1 1\r\nx\r\n") == b"INSERTED 1\r\n"
    done = run(beanstalkd.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, lines(2), "")
    assert beanstalkd.ask(b"peek-ready\r\n") == b"FOUND 1 1\r\n"


def test_it_starts_one_where_none_is() -> None:
    url = f"beanstalk://127.0.0.1:{free_port()}"
    done = run(url)
    assert (done.returncode, done.stdout) == (0, lines(1))
    assert done.stderr.count("\n") == 1
    assert url in done.stderr


def test_it_looks_for_a_unix_socket_too(tmp_path: Path) -> None:
    done = run(f"unix://{tmp_path}/nobody")
    assert (done.returncode, done.stdout) == (0, lines(1))
