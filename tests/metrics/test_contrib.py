"""The dashboard, the alert rules and the unit that are given along are right."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from beanstalkt.cli.parser import parse
from beanstalkt.metrics.runner import RunnerCollector
from beanstalkt.metrics.runner_counts import RunnerCounts
from beanstalkt.metrics.servers import ServerMetrics
from beanstalkt.worker.config import ini
from tests.support.embedded import AnyServer
from tests.support.promtool import PROMTOOL

CONTRIB = Path(__file__).parents[2] / "contrib"


async def families(server: AnyServer) -> set[str]:
    """The names of all metrics that there are."""
    registry = CollectorRegistry()
    registry.register(RunnerCollector(RunnerCounts()))
    text = await ServerMetrics({"main": server.url}).render() + generate_latest(registry).decode()
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yml"])
async def test_they_name_only_metrics_that_there_are(name: str, server: AnyServer) -> None:
    text = (CONTRIB / name).read_text()
    named = set(re.findall(r"\bbeanstalk[dt]_[a-z_]+", text))
    assert len(named) > 5
    known = await families(server)
    assert {re.sub("_(bucket|sum|count)$", "", each) for each in named} <= known


def test_the_dashboard_has_no_panel_twice_or_on_top_of_another() -> None:
    panels = json.loads((CONTRIB / "grafana-dashboard.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_alerts_are_raised_when_they_should_be() -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    for command in (
        ["check", "rules", "prometheus-alerts.yml"],
        ["test", "rules", "prometheus-alerts-test.yml"],
    ):
        done = subprocess.run(
            [PROMTOOL, *command],
            cwd=CONTRIB,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    alerts = re.findall(r"- alert: (\w+)", (CONTRIB / "prometheus-alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (CONTRIB / "prometheus-alerts-test.yml").read_text())
    assert set(alerts) == set(tested)


def test_the_systemd_unit_of_the_console() -> None:
    text = (CONTRIB / "beanstalkt-console.service").read_text().replace("\\\n", " ")
    sections, problems = ini.parse(text)
    assert not problems
    service = {section.name: section.entries for section in sections}["Service"]
    options = parse(shlex.split(service["execstart"].value)[1:])
    assert options.verb == "console"
    assert options.password_file == "${CREDENTIALS_DIRECTORY}/password"
