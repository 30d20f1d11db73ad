"""Snippets of the documents, run against a server of the test's own."""

from __future__ import annotations

import os
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
