"""The embedded server against the real one: everything written ahead, on one connection."""

from __future__ import annotations

import subprocess
import sys

from . import bare
from .registry import Address, Stopwatch, at_least, measure, rate

SERVE = """
import argparse, sys
from beanstalkt.cli import serve
parser = argparse.ArgumentParser()
serve.add_arguments(parser)
sys.exit(serve.main(parser.parse_args(["--port", "0"])))
"""


@measure("put", "bare socket, to the embedded server")
def put(_: Address, jobs: int, watch: Stopwatch) -> None:
    """As :func:`benchmarks.bare.put`. In a process of its own, as the real one is."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            bare.load(_address(process), jobs, watch, nap=0)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> Address:
    """What the server says when it listens."""
    assert process.stderr is not None
    line = process.stderr.readline()
    host, _, port = line.partition("beanstalk://")[2].partition(",")[0].rpartition(":")
    return host, int(port)


at_least(1 / 3, "put to the embedded server, against the real one", rate(put, bare.put))
