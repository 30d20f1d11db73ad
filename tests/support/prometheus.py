"""A Prometheus that scrapes for a test."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .ports import free_port
from .promtool import PROMETHEUS
from .waiting import block_until

PATIENCE = 60.0


class Prometheus:
    """A Prometheus that answers on loopback."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def query(self, query: str) -> list[Any]:
        """The values of a query; none as long as it does not answer."""
        url = self._url + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return [each["value"][1] for each in found]

    def until(self, query: str, value: str) -> None:
        """Wait until the result of a query is this value."""
        block_until(lambda: self.query(query) == [value], query, timeout=PATIENCE)


@contextmanager
def scraping(targets: Mapping[str, int], directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes each port every two seconds; skips without the program."""
    if PROMETHEUS is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    port = free_port()
    config = directory / "prometheus.json"  # JSON is YAML
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{each}"]}]}
        for name, each in targets.items()
    ]
    times = {"scrape_interval": "2s", "scrape_timeout": "2s"}
    config.write_text(json.dumps({"global": times, "scrape_configs": jobs}))
    process = subprocess.Popen(
        [
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(PATIENCE)
