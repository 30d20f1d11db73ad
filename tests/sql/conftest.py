"""A database of each kind for the tests of the outbox and the history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from beanstalkt.sql.database import Database
from beanstalkt.sql.migrations import migrate

from ..support.databases import SERVERS, DatabaseServer, SQLite

KINDS = ("sqlite", "postgresql", "mysql")


@pytest.fixture(scope="session")
def database_servers() -> Iterator[dict[str, DatabaseServer]]:
    """The servers that this process of the tests has started, by their kinds."""
    started: dict[str, DatabaseServer] = {}
    yield started
    for server in started.values():
        server.close()


@pytest.fixture(params=KINDS)
def database_server(
    request: pytest.FixtureRequest,
    database_servers: dict[str, DatabaseServer],
    tmp_path: Path,
) -> DatabaseServer | SQLite:
    """A server of each kind, which has started, or is started for the first test of it."""
    if request.param == "sqlite":
        return SQLite(tmp_path)
    if request.param not in database_servers:
        database_servers[request.param] = SERVERS[request.param]()
    return database_servers[request.param]


@pytest.fixture
def url(database_server: DatabaseServer | SQLite) -> str:
    """The URL of a new database, in which there is nothing."""
    return database_server.new()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A new database with the tables of the outbox."""
    with closing(Database(url)) as made:
        migrate(made)
        yield made
