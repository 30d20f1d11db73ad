"""Measure the outbox and the history against bare statements of the same driver."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from beanstalkt import Client, Worker, WorkerJob
from beanstalkt.sql import enqueue_many, statements
from beanstalkt.sql.database import Database
from beanstalkt.sql.history import History
from beanstalkt.sql.migrations import migrate
from beanstalkt.sql.outbox import Outbox
from beanstalkt.sql.relay import BATCH, Relay
from tests.support.databases import SERVERS, DatabaseServer, SQLite

from .bare import load as put_all
from .registry import BODY, Address, Measure, Stopwatch, at_least, at_most, measure, rate

KINDS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}

RELAY_SHARE = 0.5
INSERT_SHARE = 1.0
CLAIM_SHARE = 0.125
HISTORY_SHARE = 0.25
SLOTS = 50

SENT = 1_000_000
"""Rows in a table that is not empty."""

_kept = ExitStack()
_servers: dict[str, DatabaseServer | SQLite] = {}
_full: dict[str, str] = {}  # URLs of databases with `SENT` rows, by their kinds
atexit.register(_kept.close)


def server_of(kind: str) -> DatabaseServer | SQLite:
    """Return the server of a kind, which is started once. Raises ModuleNotFoundError."""
    if kind not in _servers:
        if kind == "sqlite":
            folder = _kept.enter_context(tempfile.TemporaryDirectory(prefix="beanstalkt-"))
            _servers[kind] = SQLite(Path(folder))
        elif None in SERVERS[kind].programs:
            raise ModuleNotFoundError(f"{KINDS[kind]} is not installed")
        else:
            _servers[kind] = server = SERVERS[kind]()
            _kept.callback(server.close)
    return _servers[kind]


@contextmanager
def database_of(kind: str) -> Iterator[Database]:
    """Give a new database with the tables."""
    with closing(Database(server_of(kind).new())) as database:
        migrate(database)
        yield database


def fill(database: Database, rows: int) -> None:
    with database.transaction() as connection:
        enqueue_many(connection, "default", (BODY for _ in range(rows)))


# --- the relay -------------------------------------------------------------------------------


def bare_relay(kind: str) -> Callable[[Address, int, Stopwatch], None]:
    def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Claim and mark rows with the relay's own two statements, and a commit after each."""
        with database_of(kind) as database:
            fill(database, jobs)
            with watch:
                while rows := claim_rows(database):
                    mark_rows(database, rows)

    return run


def claim_rows(database: Database) -> list[int]:
    """Claim a batch with as little as that takes; return the ids."""
    dialect = database.dialect
    values: dict[str, Any] = {"name": "bare", "seconds": 60}
    chosen = {"limit": BATCH, "max_size": 65535}
    with database.transaction() as connection:
        if dialect.returning:
            claimed = connection.execute(statements.claim(dialect), values | chosen)
            return [row[0] for row in claimed.all()]
        found = connection.execute(statements.select_new(dialect), chosen)
        ids = [row[0] for row in found.all()]
        rows = dialect.parameters(statements.ID, [(row_id,) for row_id in ids])
        if ids:
            connection.execute(statements.claim_selected(dialect), values | rows)
        return ids


def mark_rows(database: Database, ids: list[int]) -> None:
    """Mark a batch as sent."""
    values = {"name": "bare", "state": "sent", "server": "one", "server_run": "run", "error": None}
    rows = [(row_id, row_id, "default") for row_id in ids]
    values |= database.dialect.parameters(statements.SETTLED, rows)
    with database.transaction() as connection:
        connection.execute(statements.settle(database.dialect, True), values)


def whole_relay(kind: str) -> Callable[[Address, int, Stopwatch], Any]:
    async def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Relay rows: claim, put, mark, and an event in the history for each."""
        with database_of(kind) as database:
            fill(database, jobs)
            async with Client(*address) as client:
                relay = Relay(Outbox(database, "relay"), client, "one", burst=True)
                with watch:
                    await relay.run()
            assert relay.counts["sent"] == jobs

    return run


# --- inserts ---------------------------------------------------------------------------------


def bare_insert(kind: str) -> Callable[[Address, int, Stopwatch], None]:
    def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Insert rows with executemany of the driver, in one transaction."""
        mark = "?" if kind == "sqlite" else "%s"
        statement = f"INSERT INTO queued_job (tube, payload) VALUES ({mark}, {mark})"
        with database_of(kind) as database, closing(database.engine.raw_connection()) as raw:
            connection: Any = raw.driver_connection
            with watch:
                if kind == "sqlite":
                    connection.execute("BEGIN")
                cursor = connection.cursor()
                cursor.executemany(statement, [("default", BODY) for _ in range(jobs)])
                cursor.close()
                connection.commit()

    return run


def api_insert(kind: str) -> Callable[[Address, int, Stopwatch], None]:
    def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Insert rows with enqueue_many, in one transaction."""
        with database_of(kind) as database, closing(database.engine.raw_connection()) as raw:
            connection: Any = raw.driver_connection
            with watch:
                if kind == "sqlite":
                    connection.execute("BEGIN")
                enqueue_many(connection, "default", (BODY for _ in range(jobs)))
                connection.commit()

    return run


# --- claims ----------------------------------------------------------------------------------

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, {})) ",
}


def full_database(kind: str) -> str:
    """Return the URL of a database with `SENT` rows that were sent, made once."""
    if kind not in _full:
        url = server_of(kind).new()
        with closing(Database(url)) as database:
            migrate(database)
            with database.transaction() as connection:
                connection.exec_driver_sql(
                    _NUMBERS[kind].format(SENT) + "INSERT INTO queued_job (url, tube, state) "
                    "SELECT 'http://example.com/', 'default', 'sent' FROM n"
                )
            if kind == "postgresql":
                with database.engine.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    connection.exec_driver_sql("VACUUM ANALYZE queued_job")
        _full[kind] = url
    return _full[kind]


def claims(kind: str, full: bool) -> Callable[[Address, int, Stopwatch], None]:
    def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Claim new rows in batches."""
        with ExitStack() as stack:
            if full:
                database = stack.enter_context(closing(Database(full_database(kind))))
            else:
                database = stack.enter_context(database_of(kind))
            fill(database, jobs)
            outbox = Outbox(database, "relay")
            with watch:
                while outbox.claim(BATCH):
                    pass
            with database.transaction() as connection:
                connection.exec_driver_sql("DELETE FROM queued_job WHERE state = 'claimed'")

    return run


# --- the history -----------------------------------------------------------------------------


def runner(kind: str | None, frozen: bool = False) -> Callable[[Address, int, Stopwatch], Any]:
    async def run(address: Address, jobs: int, watch: Stopwatch) -> None:
        """Await a coroutine for each job, with or without a history."""

        async def nothing(job: WorkerJob) -> None:
            pass

        put_all(address, jobs)
        with ExitStack() as stack:
            history = None
            if kind is not None:
                database = stack.enter_context(database_of(kind))
                history = History(database.engine.url.render_as_string(hide_password=False))
                history._writer.start()
                if frozen:
                    server = server_of(kind)
                    assert isinstance(server, DatabaseServer)
                    server.freeze()
                    stack.callback(server.thaw)
            worker = Worker(
                "beanstalk://{}:{}".format(*address),
                "default",
                nothing,
                concurrency=SLOTS,
                max_jobs=jobs,
                observers=[] if history is None else [history],
            )
            with watch:
                await worker.run()
            if history is not None:
                await history.close(0.0 if frozen else 20.0)
                assert frozen or history.dropped == 0, history.dropped

    return run


# --- the table -------------------------------------------------------------------------------


def pair(
    group: str, bare: tuple[str, Any], ours: tuple[str, Any], share: float
) -> tuple[Measure, Measure]:
    """Declare two measures of one group."""
    one, other = (measure(group, name, share=share)(run) for name, run in (bare, ours))
    return one, other


for _kind, _name in KINDS.items():
    _bare, _ours = pair(
        f"outbox: rows of {_name} become jobs",
        ("the two bare statements, without jobs", bare_relay(_kind)),
        ("the relay", whole_relay(_kind)),
        RELAY_SHARE,
    )
    at_least(0.6, f"relay of {_name}, against two bare statements", rate(_ours, _bare))

for _kind, _target in {"sqlite": 0.4, "postgresql": 0.7}.items():
    _bare, _ours = pair(
        f"outbox: inserts into {KINDS[_kind]}",
        ("executemany of the driver", bare_insert(_kind)),
        ("enqueue_many", api_insert(_kind)),
        INSERT_SHARE,
    )
    at_least(_target, f"enqueue_many into {KINDS[_kind]}, against executemany", rate(_ours, _bare))

for _kind in ("sqlite", "postgresql"):
    _bare, _ours = pair(
        f"outbox: claims in {KINDS[_kind]}",
        ("an empty table", claims(_kind, False)),
        (f"{SENT:,} rows that were sent", claims(_kind, True)),
        CLAIM_SHARE,
    )
    at_most(1.5, f"time of a claim in {KINDS[_kind]} with 1,000,000 sent rows", rate(_bare, _ours))

_GROUP = f"history: a Python handler that returns at once, {SLOTS} slots"
_off = measure(_GROUP, "no history", share=HISTORY_SHARE)(runner(None))
for _kind in ("sqlite", "postgresql"):
    _on = measure(_GROUP, f"a history in {KINDS[_kind]}", share=HISTORY_SHARE)(runner(_kind))
    at_least(0.85, f"runner with a history in {KINDS[_kind]}, against none", rate(_on, _off))
_stuck = measure(_GROUP, "a history in a PostgreSQL that is frozen", share=HISTORY_SHARE)(
    runner("postgresql", frozen=True)
)
at_least(0.98, "runner with a history that is frozen, against none", rate(_stuck, _off))
