"""``make console``: the demo shows something that lives, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import block_until

DEMO = Path(__file__).parents[2] / "examples" / "console_demo.py"


def test_the_demo_has_jobs_that_come_and_go() -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, DEMO, str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert str(port).encode() in process.stdout.readline()

        def lively() -> bool:
            url = f"http://127.0.0.1:{port}/api/state?topic=servers&topic=runners"
            with urllib.request.urlopen(url, timeout=10) as answer:
                servers, runners = json.load(answer)["messages"]
            rates = servers["data"]["servers"][0]
            return bool(rates.get("into") and rates.get("out") and runners["data"]["runners"])

        block_until(lively, "jobs are put and deleted")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        if process.stdout is not None:
            process.stdout.close()
