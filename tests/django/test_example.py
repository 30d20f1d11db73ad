"""The project in examples/django, as its manage.py says to run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from beanstalkt.blocking import Client

from ..support import program
from ..support.beanstalkd import Beanstalkd, free_port

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "django"

DJANGO = (
    "django.contrib.auth.hashers",
    "django.core.management.commands.check",
    "django.core.servers.basehttp",
    "django.db.backends.sqlite3.base",
    "django.db.models",
    "django.http",
    "django.urls",
    "beanstalkt.cli.work",
)
"""What a project imports that can be imported before its settings are known."""

PATIENCE = 60
"""Seconds; what takes longer does not come."""


class Project:
    """The project with a database of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.environment = {
            **os.environ,
            "BEANSTALKD_URL": url,
            "DATABASE": str(folder / "db.sqlite3"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)

    def run(self, *words: str, status: int = 0, **environment: str) -> str:
        """Run a command of manage.py to its end; return what it printed."""
        done = program.run(
            *["manage.py", *words],
            imports=DJANGO,
            cwd=EXAMPLE,
            env={**self.environment, **environment},
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
        assert done.returncode == status, done.stdout.decode()
        return done.stdout.decode()

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of manage.py until the end of the block."""
        process = program.start(
            *["manage.py", *words],
            imports=DJANGO,
            cwd=EXAMPLE,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def ask(self, port: int, path: str, *data: str) -> Any:
        """Ask the web server, once it is there; return its answer, or the status of a refusal."""
        url = f"http://127.0.0.1:{port}{path}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urlopen(url, "&".join(data).encode() or None, PATIENCE) as answer:
                    return json.load(answer)
            except HTTPError as error:
                error.close()
                return error.code
            except URLError:
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new database, made once, which every test copies."""
    folder = tmp_path_factory.mktemp("migrated")
    Project("beanstalk://localhost:1", folder).run("migrate")
    return folder


@pytest.fixture
def project(beanstalkd: Beanstalkd, migrated: Path, tmp_path: Path) -> Project:
    copytree(migrated, tmp_path, dirs_exist_ok=True)
    return Project(beanstalkd.url, tmp_path)


def test_from_the_view_to_the_worker(project: Project, tmp_path: Path) -> None:
    port = free_port()
    report = tmp_path / "report.txt"
    with (
        project.running("runserver", "--noreload", str(port)),
        project.running("beanstalkt_work") as worker,
    ):
        assert project.ask(port, "/signup", "name=ada", f"report={report}") == {"member": 1}
        assert project.ask(port, "/signup", "name=bob", "fail=yes") == 409
        wanted = {"members": [{"name": "ada", "welcomed": True, "letters": 1}]}
        deadline = time.monotonic() + PATIENCE
        while project.ask(port, "/members") != wanted or not report.exists():
            assert worker.poll() is None
            assert time.monotonic() < deadline
        assert report.read_text() == "1 members"
        with Client.from_url(project.url) as client:
            stats = client.stats()
            while stats["current-jobs-reserved"]:  # the last one is being deleted
                assert time.monotonic() < deadline
                stats = client.stats()
        assert stats["total-jobs"] == stats["cmd-delete"] == 3  # and none for bob
    assert worker.returncode == 0
    body = '{"function": "count", "args": ["%s"], "kwargs": {}}' % (tmp_path / "again.txt")
    with project.running("runserver", "--noreload", str(port)):
        assert project.ask(port, "/beanstalk_dispatch/dispatcher", body) == {}
    assert (tmp_path / "again.txt").read_text() == "1 members"


FAILS = {"id": "x", "args": [99], "kwargs": {}, "backend": "default", "priority": 0}
FAILS.update(queue_name="members", enqueued_at="2026-01-01T00:00:00+00:00")
"""The arguments of a job of a task with a member that is not there."""


def put(project: Project, function: str, *args: str, **kwargs: Any) -> None:
    with Client.from_url(project.url) as client:
        body = json.dumps({"function": function, "args": args, "kwargs": kwargs})
        client.put(body, tube="members")


def test_only_what_is_in_the_table_is_called(project: Project) -> None:
    put(project, "os.getcwd")
    put(project, "task:os.getcwd")
    put(project, "members.functions.count", "/nowhere")
    put(project, "task:members.tasks.welcome", id="x")
    told = project.run("beanstalkt_work", "--burst", "--log-format", "json")
    assert told.count("there is no function") == 3
    assert told.count("missing a required") == 1
    assert told.count('"outcome": "permanent-fail", "action": "bury"') == 4


VIEWS = """
from members.tasks import task

urlpatterns = []


@task(queue_name="members")
def hello(name):
    print("Hello", name)
"""


def test_a_task_of_a_view_runs_in_a_child_too(project: Project, tmp_path: Path) -> None:
    """Only the checks import the views, which the children do not run."""
    (tmp_path / "views_here.py").write_text(VIEWS)
    settings = "from project.settings import *\nROOT_URLCONF = 'views_here'\n"
    (tmp_path / "viewed.py").write_text(settings)
    project.environment.update(DJANGO_SETTINGS_MODULE="viewed", PYTHONPATH=str(tmp_path))
    put(project, "task:views_here.hello", **{**FAILS, "args": ["ada"]})
    assert "Hello ada" in project.run("beanstalkt_work", "--burst")


def test_a_task_that_fails_is_buried(project: Project) -> None:
    put(project, "task:members.tasks.welcome", **FAILS)
    told = project.run("beanstalkt_work", "--burst")
    assert "DoesNotExist" in told
    assert told.count("state=FAILED") == 1  # and not by a handler of Django's as well
    assert "from=BEANSTALKD_URL" in told
    with Client.from_url(project.url) as client:
        assert client.stats_tube("members")["current-jobs-buried"] == 1


def test_options_beat_the_environment_which_beats_the_settings(project: Project) -> None:
    check = ("beanstalkt_work", "--burst", "--tube", "letters:3")
    assert "timeout=30.0" in project.run(*check)
    assert "timeout=20.0" in project.run(*check, BEANSTALKT_TIMEOUT="20")
    told = project.run(*check, "--timeout", "10", BEANSTALKT_TIMEOUT="20")
    assert "timeout=10.0" in told
    assert "tube=letters workers=3" in told
    assert "members" not in told.replace("task:members", "")


LOGGED = """
from project.settings import *
DEBUG = False
LOGGING = {  # without disable_existing_loggers, which is True then
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
"""


def test_the_log_goes_where_the_project_sends_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "logged.py").write_text(LOGGED)
    project.environment.update(DJANGO_SETTINGS_MODULE="logged", PYTHONPATH=str(tmp_path))
    put(project, "task:members.tasks.welcome", **FAILS)
    told = project.run("beanstalkt_work", "--burst")
    assert "MINE beanstalkt.worker ready" in told
    assert "MINE beanstalkt.worker job tube=members" in told
    (failed,) = (line for line in told.splitlines() if "state=FAILED" in line)  # by the child
    assert failed.startswith("MINE django")
    assert "INFO" not in told


def test_a_format_that_is_chosen_is_that_of_all_lines(project: Project, tmp_path: Path) -> None:
    (tmp_path / "logged.py").write_text(LOGGED)
    project.environment.update(DJANGO_SETTINGS_MODULE="logged", PYTHONPATH=str(tmp_path))
    put(project, "task:members.tasks.welcome", **FAILS)
    told = project.run("beanstalkt_work", "--burst", "--log-format", "json")
    lines = [json.loads(line) for line in told.splitlines()]
    assert any("state=FAILED" in line.get("message", "") for line in lines)


def test_check_says_what_would_run(project: Project) -> None:
    told = project.run("beanstalkt_work", "--check")
    assert "tube members: 2 workers" in told
    assert "tube letters: 1 worker" in told
    assert "count, task:members.tasks.welcome, task:members.tasks.write_letter" in told


def test_the_project_passes_its_checks(project: Project) -> None:
    assert "no issues" in project.run("check", "--fail-level", "INFO")
    assert "No changes" in project.run("makemigrations", "--check", "--dry-run")


def test_bad_options_end_with_status_2(project: Project) -> None:
    assert "'soon'" in project.run("beanstalkt_work", "--timeout", "soon", status=2)
    assert "two words" in project.run("beanstalkt_work", "--tube", "two words", status=2)
    assert "NAME:WORKERS" in project.run("beanstalkt_work", "--tube", "mail:many", status=1)


def test_bad_settings_keep_the_worker_from_starting(project: Project) -> None:
    told = project.run("beanstalkt_work", status=1, BEANSTALKD_URL="http://there")
    assert "beanstalkt.E003" in told
    assert "HINT" in told
