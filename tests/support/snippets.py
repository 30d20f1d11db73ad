"""Snippets of the documents, run against a server of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .beanstalkd import Beanstalkd


def run(server: Beanstalkd, folder: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BEANSTALKD_URL": server.url,
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def at(server: Beanstalkd, text: str) -> str:
    """The snippet with the address of the test's server instead of the default one."""
    return (
        text.replace("localhost:11300", f"127.0.0.1:{server.port}")
        .replace('"localhost", 11300', f'"127.0.0.1", {server.port}')
        .replace('"127.0.0.1", 11300', f'"127.0.0.1", {server.port}')
        .replace("Client()", f'Client("127.0.0.1", {server.port})')
    )


def run_console(server: Beanstalkd, folder: Path, text: str) -> None:
    """Run the commands after ``$``, and compare what they print with what is shown."""
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        output = run(server, folder, "/bin/sh", "-ec", at(server, command))
        if expected.strip():
            assert output == at(server, expected)


def check_configuration(server: Beanstalkd, folder: Path, text: str) -> None:
    """Have the runner check a configuration that may name the functions of ``app``."""
    (folder / "app").mkdir()
    (folder / "app" / "mail.py").write_text("def send(to: str, subject: str = '') -> None: ...")
    (folder / "app" / "reports.py").write_text(
        "from beanstalkt import SafeTask\nclass Report(SafeTask):\n    def run(self): ..."
    )
    (folder / "work.ini").write_text(text)
    run(
        server,
        folder,
        "/bin/sh",
        "-ec",
        "PYTHONPATH=. beanstalkt work --config work.ini --check",
    )
