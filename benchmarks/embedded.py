"""Measure the embedded server against the real one, with everything written ahead."""

from __future__ import annotations

import subprocess
import sys

from . import bare
from .registry import Address, Stopwatch, at_least, measure, rate

SERVE = [sys.executable, "-m", "beanstalkt.cmd", "serve", "--port", "0"]


@measure("put", "bare socket, to the embedded server")
def put(_: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs into an embedded server in a process of its own, as the real server is."""
    with subprocess.Popen(SERVE, stderr=subprocess.PIPE, text=True) as process:
        try:
            bare.load(_address(process), jobs, watch, nap=0)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> Address:
    """Read the address from the message that the server prints when it listens."""
    assert process.stderr is not None
    line = process.stderr.readline()
    host, _, port = line.partition("beanstalk://")[2].partition(",")[0].rpartition(":")
    return host, int(port)


at_least(1 / 3, "put to the embedded server, against the real one", rate(put, bare.put))
