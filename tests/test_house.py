"""The rooms of the package: who may import whom, no circles, and the names that programs use."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "beanstalkt"

GROUND = {"errors", "job", "protocol"}
"""What every other package may import: the errors, the job, and the facts of the protocol."""

CORE = {
    "worker.worker",
    "worker.runner",
    "worker.slot",
    "worker.attempt",
    "worker.blocking",
    "worker.job_executor",
    "worker.held_job",
    "worker.prefetch",
    "worker.burst",
    "worker.pool_slot",
    "worker.tube_slots",
    "worker.tube_scan",
    "worker.signals",
    "worker.events",
    "worker.observers",
    "worker.timing",
    "worker.outbox_id",
    "worker.policy",
    "worker.config.settings",
}

HANDLER = {
    "worker.handlers.base",
    "worker.outbox_id",
    "worker.events",
    "worker.policy",
    "worker.process",
    "worker.config.values",
}
"""What a handler is made of."""

RULES: dict[str, set[str]] = {
    "errors": {"job"},
    "job": {"errors", "protocol.stats"},  # the latter for its types only
    "protocol": {"protocol", "errors"},
    "client": GROUND | {"client"},
    "pool": GROUND | {"pool", "client"},
    # A second shell around the pipeline: nothing of the client that knows an event loop.
    "blocking": GROUND
    | {
        "blocking",
        "client.not_copied",
        "client.options",
        "client.pipeline",
        "client.puts",
        "client.requests",
        "client.sockets",
        "client.timing",
        "client.tubes",
        # What both kinds of pools share knows no event loop either.
        *("pool.chunks", "pool.failover", "pool.job", "pool.membership", "pool.routing"),
        "pool.totals",
    },
    "server": {"server", "errors", "protocol"},
    "dispatch": GROUND | {"dispatch", "client"},
    # The core of the runner knows no handler but the base of all, no log, and no configuration.
    "worker": GROUND | CORE | {"client", "pool", "worker.handlers.base"},
    # Puts a runner together for a program: settings, the one handler, and the usual observers.
    "worker.worker": GROUND
    | CORE
    | {"client.timing", "worker.handlers.coroutine", "worker.config.values", "worker.log"},
    "worker.policy": {"worker.policy", "protocol"},
    "worker.process": {"worker.process", "worker.handlers.base", "worker.policy"},
    "worker.log": {"worker.log", "worker.events", "worker.policy", "errors"},
    "worker.config": GROUND | HANDLER | {"worker.config", "worker.handlers.registry"},
    # Handlers never import each other; the registry finds them by name.
    "worker.handlers": GROUND | HANDLER,
    "worker.handlers.command": GROUND | HANDLER | {"worker.handlers.command"},
    "worker.handlers.http": GROUND | HANDLER | {"worker.handlers.http"},
    "worker.handlers.function": GROUND | HANDLER | {"worker.handlers.function", "dispatch"},
    "admin": GROUND | {"admin", "client"},
    "django": GROUND | {"django", "blocking", "dispatch"},
    # What a task raises to be run again is the runner's.
    "django.task_run": {"django", "worker"},
    "django.runner": {"cmd", "django.log", "worker.config", "worker.handlers"},
    "metrics": GROUND | {"metrics", "client", "admin", "worker.events", "worker.policy"},
    "console": GROUND | {"console", "client", "admin"},
    # What a runner reports is written into the database.
    "sql": GROUND
    | {"sql", "client", "admin", "dispatch", "worker.events", "worker.policy"}
    | {"worker.outbox_id"},
    "testing": GROUND | {"client", "server"},
    "cli": {""},
    "cmd": {"cli"},
    "__main__": {"cmd"},
}
"""The packages that the modules of a package may import. "" is everything."""

PURE = (
    *("admin.record", "admin.selection", "admin.progress", "admin.portable", "admin.spans"),
    *("errors", "job", "protocol", "worker.policy", "worker.outbox_id"),
    *("sql.dialect", "sql.history_rows", "sql.rows", "sql.statements", "sql.tables"),
    *("client.pipeline", "client.requests", "client.tubes", "client.timing"),
    *("pool.chunks", "pool.failover", "pool.job", "pool.membership", "pool.routing"),
    "pool.totals",
    *("admin.snapshot", "admin.rates", "admin.history", "admin.tube_filter"),
    *("server.commands", "server.engine", "server.heap", "server.interpreter", "server.reader"),
    *("server.rotating_set", "server.session", "server.stats", "server.stored_job", "server.tube"),
)
"""What is tested without a loop, since it knows none."""


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(ROOT.rglob("*.py"))}


def within(name: str, package: str) -> bool:
    return not package or name == package or name.startswith(package + ".")


def imports(name: str, types: bool = True) -> Iterator[str]:
    """The modules of the package that a module of it imports, as dotted names from the root."""
    file = FILES[name]
    here = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(file.read_text())
    skipped = set() if types else set(_only_for_types(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or node in skipped:
            continue
        base = [each for each in here if each][: len(here) - node.level + 1]
        module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
        for alias in node.names:
            inner = f"{module}.{alias.name}".strip(".")
            yield inner if inner in FILES else module


def _only_for_types(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (inner for child in node.body for inner in ast.walk(child))


def foreign(name: str) -> set[str]:
    """The first names of what a module imports from outside the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def rule_of(name: str) -> str | None:
    """The longest package with a rule that a module is in."""
    return max((rule for rule in RULES if within(name, rule)), key=len, default=None)


def test_there_are_no_circles() -> None:
    """Not even through imports that are for types only."""
    graph = {name: set(imports(name)) - {name} for name in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", [name for name in FILES if name])
def test_a_module_imports_only_what_its_package_may(name: str) -> None:
    rule = rule_of(name)
    assert rule is not None, f"no rule says what {name} may import"
    wrong = {each for each in imports(name) if not any(within(each, ok) for ok in RULES[rule])}
    assert not wrong


def test_only_the_command_imports_the_command_line() -> None:
    assert {name for name in FILES if "cli" in {each.split(".")[0] for each in imports(name)}} <= {
        "cmd",
        *(name for name in FILES if within(name, "cli")),
    }


@pytest.mark.parametrize("name", [name for name in FILES if any(within(name, p) for p in PURE)])
def test_the_pure_modules_know_no_loop(name: str) -> None:
    assert not foreign(name) & {"asyncio", "tornado", "socket", "threading", "selectors"}


def test_only_the_transport_imports_sockets_and_streams() -> None:
    for name in FILES:
        if within(name, "client") and name != "client.transport":
            assert "iostream" not in FILES[name].read_text(), name


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


LOADED = """
own = {name.removeprefix('beanstalkt.') for name in sys.modules if name.startswith('beanstalkt.')}
foreign = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(*sorted(own))
print(*sorted(foreign))
"""


def test_the_client_brings_in_nothing_but_tornado() -> None:
    """Neither an extra nor the command line, worker or server is imported with the client."""
    own, loaded = run(f"import beanstalkt; beanstalkt.Client{LOADED}").splitlines()
    assert {name.split(".")[0] for name in own.split()} == {"client", "errors", "job", "protocol"}
    assert "tornado" in loaded.split()
    assert not {"pytest", "yaml", "hypothesis", "aiohttp"} & set(loaded.split())


@pytest.mark.parametrize("made", ["Client()", "Pool('beanstalk://localhost')"])
def test_the_blocking_client_brings_in_nothing_at_all(made: str) -> None:
    own, loaded = run(
        f"import beanstalkt.blocking; beanstalkt.blocking.{made}{LOADED}"
    ).splitlines()
    assert "blocking.client" in own.split()
    assert ("blocking.pool" in own.split()) == made.startswith("Pool")
    assert not {"client.client", "client.connection", "server", "worker"} & set(own.split())
    assert set(loaded.split()) == {"__main__", "beanstalkt"}


def test_the_blocking_client_pays_for_no_loop_and_for_tls_only_where_it_is_used() -> None:
    program = "from beanstalkt.blocking import Client; Client{}; print(*sys.modules)"
    loaded = set(run(program.format("()")).split())
    assert not {"asyncio", "concurrent.futures", "ssl", "subprocess"} & loaded
    assert "ssl" in run(program.format(".from_url('beanstalks://localhost')")).split()


def test_names_that_are_imported_late_are_found() -> None:
    for module in ("beanstalkt", "beanstalkt.client"):
        shown = run(f"import {module}; print(*dir({module})); print(*{module}.__all__)")
        names, public = (set(line.split()) for line in shown.splitlines())
        assert public <= names
    run("from beanstalkt import *; Client, Worker, SafeTask")
    run("import beanstalkt.client.client; import beanstalkt; beanstalkt.client.Client")


PUBLIC = [
    "beanstalkt.blocking:Client",
    "beanstalkt.blocking:Job",
    "beanstalkt.blocking:Pool",
    "beanstalkt:Client",
    "beanstalkt:Job",
    "beanstalkt:Pool",
    "beanstalkt:PoolJob",
    "beanstalkt:Worker",
    "beanstalkt:Retry",
    "beanstalkt:Reject",
    "beanstalkt:WorkerJob",
    "beanstalkt:SafeTask",
    "beanstalkt:DEFAULT_PRIORITY",
    "beanstalkt:DEFAULT_TTR",
    "beanstalkt:Stats",
    "beanstalkt.errors:BeanstalkException",
    "beanstalkt.client:Client",
    "beanstalkt.admin:Scan",
    "beanstalkt.admin:export_jobs",
    "beanstalkt.admin:import_jobs",
    "beanstalkt.admin:select",
    "beanstalkt.job:Job",
    "beanstalkt.server:Server",
    "beanstalkt.dispatch:SafeTask",
    "beanstalkt.dispatch:Stopped",
    "beanstalkt.dispatch:Scheduled",
    "beanstalkt.dispatch:schedule_function",
    "beanstalkt.dispatch:DispatcherHandler",
    "beanstalkt.worker:Worker",
    "beanstalkt.worker:Retry",
    "beanstalkt.worker:Reject",
    "beanstalkt.worker:WorkerJob",
    "beanstalkt.worker.handlers.base:Work",
    "beanstalkt.testing:beanstalkd_server",
    "beanstalkt.testing:beanstalkt_client",
    "beanstalkt.cmd:main",
    "beanstalkt.sql:enqueue",
    "beanstalkt.sql:enqueue_many",
    "beanstalkt.sql:schedule_function",
    *(["beanstalkt.sql:History", "beanstalkt.sql:metadata"] if find_spec("sqlalchemy") else []),
    *(["beanstalkt.django:schedule_function"] if find_spec("django") else []),
]


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_stays_where_programs_look_for_it(path: str) -> None:
    module, _, name = path.partition(":")
    assert hasattr(importlib.import_module(module), name)


def test_a_pickled_job_can_be_read_again() -> None:
    job = pickle.loads(b"cbeanstalkt.job\nJob\n(I1\nVx\ntR.")
    assert job["id"] == 1
