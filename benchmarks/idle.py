"""Measure a runner whose slots all wait for a job, in a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from .bare import ask
from .registry import Address, Stopwatch, at_most, measure

TUBES = 20
SLOTS_OF_EACH = 10

SETTLED = 1.0
"""Seconds from the reserve of the last slot until the measuring begins."""

TIME = 10.0
"""Seconds for which the waiting is measured."""


@measure(
    f"{TUBES * SLOTS_OF_EACH} idle slots of the runner", f"{TIME:g} s (CPU: of all)", share=0.0
)
def idle(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Measure the CPU time and the memory of the idle runner."""
    tubes = [word for n in range(TUBES) for word in ("--tube", f"tube-{n}:{SLOTS_OF_EACH}")]
    server = "beanstalk://{}:{}".format(*address)
    command = [sys.executable, "-m", "beanstalkt.cmd", "--server", server, "work"]
    with (
        socket.create_connection(address) as sock,
        subprocess.Popen([*command, *tubes, "--exec", "cat"], stderr=subprocess.DEVNULL) as runner,
    ):
        try:
            while b"current-waiting: %d\n" % (TUBES * SLOTS_OF_EACH) not in ask(
                sock, b"stats\r\n"
            ):
                time.sleep(0.05)
            time.sleep(SETTLED)
            before = cpu(runner.pid)
            time.sleep(TIME)
            watch.seconds, watch.cpu = TIME, cpu(runner.pid) - before
            watch.memory = resident(Path(f"/proc/{runner.pid}"), "VmRSS")
        finally:
            runner.terminate()


def cpu(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: Path, key: str) -> float:
    """Return the resident memory of a process, in megabytes.

    :param key: ``VmRSS`` for what it has now, ``VmHWM`` for the most that it has had
    """
    found = re.search(rf"{key}:\s+(\d+) kB", (process / "status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


at_most(
    0.0,
    f"s of CPU in {TIME:g} s of {TUBES * SLOTS_OF_EACH} idle slots",
    lambda samples: samples[idle].cpu,
)
at_most(
    60.0,
    f"MB resident of {TUBES * SLOTS_OF_EACH} idle slots",
    lambda samples: samples[idle].memory,
)
