"""``beanstalkt metrics``, printed once, and served to a Prometheus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beanstalkt.cli.program import main

from ..support.beanstalkd import Beanstalkd, free_port
from ..support.prometheus import scraping


def test_a_prometheus_is_told_that_a_server_hangs(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    assert beanstalkd.ask(b"put 0 0 60 1\r\nx\r\n") == b"INSERTED 1\r\n"
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "beanstalkt.cmd", "metrics", "--timeout", "0.3"),
            *("--server", f"main={beanstalkd.url}", "--listen", f"127.0.0.1:{port}"),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "BEANSTALKD_URL": ""},
    )
    try:
        with scraping({"servers": port}, tmp_path) as prometheus:
            prometheus.until('beanstalkd_tube_jobs{state="ready",tube="default"}', "1")
            prometheus.until("beanstalkd_up", "1")
            beanstalkd.freeze()
            prometheus.until("beanstalkd_up", "0")
            prometheus.until("up", "1")  # the scrape itself never failed
            beanstalkd.thaw()
            prometheus.until("beanstalkd_up", "1")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_they_are_printed_once(beanstalkd: Beanstalkd, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--server", beanstalkd.url, "--tube", "def*"]) == 0
    shown = capsys.readouterr().out
    assert 'beanstalkd_up{server="server"} 1.0' in shown
    assert 'tube="default"' in shown
    assert main(["metrics", "--server", "beanstalk://127.0.0.1:1", "--timeout", "0.2"]) == 0
    assert 'beanstalkd_up{server="server"} 0.0' in capsys.readouterr().out
    for wrong in (["--listen", "x"], ["--max-tubes", "-1"], ["--timeout", "0"]):
        with pytest.raises(SystemExit):
            main(["metrics", *wrong])
    assert main(["metrics", "--server", "http://x"]) == 2
