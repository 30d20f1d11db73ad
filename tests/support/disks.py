"""Databases that are read-only for a while, and disks that are full for a while, for real."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from beanstalkt.sql.database import Database

from .databases import DatabaseServer, SQLite

APP = "app"
"""A user of MySQL who may not write into a read-only server, as root may."""


@contextmanager
def small_disk(folder: Path, megabytes: int, owner: Path) -> Iterator[None]:
    """A disk of its own in a folder, as far as this process may mount one; else skip the test.

    :param owner: whose owner is to own the folder as well
    """
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    user = owner.stat()
    options = f"size={megabytes}m,uid={user.st_uid},gid={user.st_gid},mode=700"
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        # Lazily: a server may keep files of it open until it ends.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte free on the disk of a folder."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


class Trouble(ABC):
    """A way in which a database takes nothing for a while.

    :ivar url: of a database in which there is nothing yet
    :ivar said: a part of what the database says meanwhile
    """

    url: str
    said: str

    def prepare(self, database: Database) -> None:  # noqa: B027 - most need nothing
        """Do what is needed with the `Database` of whoever is to have the trouble."""

    @abstractmethod
    def begin(self) -> None:
        """Take nothing from now on."""

    @abstractmethod
    def end(self) -> None:
        """Take everything again. May be repeated."""


class ReadOnly(Trouble):
    """A database that lets nobody write."""

    def __init__(self, server: DatabaseServer | SQLite, stack: ExitStack) -> None:
        self.url = server.new()
        self._on = False
        if isinstance(server, SQLite):
            self.said = "readonly"
            return
        self._admin = Database(server.url_of(server.first))
        stack.callback(self._admin.close)
        self.said = "read-only"
        if server.name != "postgresql":
            name = self._admin.engine.dialect.identifier_preparer.quote(
                sqlalchemy.make_url(self.url).database or ""
            )
            self._execute(f"CREATE USER IF NOT EXISTS {APP}@localhost")
            self._execute(f"GRANT ALL ON {name}.* TO {APP}@localhost")
            self.url = self.url.replace("//root@", f"//{APP}@")

    def prepare(self, database: Database) -> None:
        if database.engine.dialect.name == "sqlite":
            sqlalchemy.event.listen(database.engine, "begin", self._begun)

    def _begun(self, connection: Any) -> None:
        cursor = connection.connection.driver_connection.cursor()
        cursor.execute(f"PRAGMA query_only = {self._on:d}")

    def _execute(self, *statements: str) -> None:
        with self._admin.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                connection.exec_driver_sql(statement)

    def begin(self) -> None:
        self._set(True)

    def end(self) -> None:
        self._set(False)

    def _set(self, on: bool) -> None:
        self._on = on
        if self.url.startswith("postgresql"):
            value = "on" if on else "off"
            self._execute(
                "SET default_transaction_read_only = off",
                f"ALTER SYSTEM SET default_transaction_read_only = {value}",
                "SELECT pg_reload_conf()",
            )
        elif self.url.startswith("mysql"):
            self._execute(f"SET GLOBAL read_only = {on:d}")


class Full(Trouble):
    """A database on a disk that has no room left."""

    said = "full|No space left"

    def __init__(self, server: DatabaseServer | SQLite, stack: ExitStack) -> None:
        self._server = server
        if isinstance(server, SQLite):
            self._disk = server.folder / "disk"
            self._disk.mkdir()
            stack.enter_context(small_disk(self._disk, 4, server.folder))
            self.url = f"sqlite:///{self._disk / 'test.db'}"
        elif server.name == "postgresql":
            self._of_postgresql(server, stack)
        else:
            self._of_mysql(server, stack)

    def _of_postgresql(self, server: DatabaseServer, stack: ExitStack) -> None:
        # In a folder of its own, to which the log of the server does not belong.
        self._disk = server.folder / "disk"
        self._disk.mkdir(exist_ok=True)
        stack.enter_context(small_disk(self._disk, 16, server.folder))
        admin = stack.enter_context(closing(Database(server.url_of(server.first))))
        connection = stack.enter_context(admin.engine.connect())
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in (
            f"CREATE TABLESPACE small LOCATION '{self._disk}'",
            "CREATE DATABASE full_disk TABLESPACE small",
        ):
            connection.exec_driver_sql(statement)
        stack.callback(connection.exec_driver_sql, "DROP TABLESPACE small")
        stack.callback(connection.exec_driver_sql, "DROP DATABASE full_disk WITH (FORCE)")
        self.url = server.url_of("full_disk")

    def _of_mysql(self, server: DatabaseServer, stack: ExitStack) -> None:
        self.url = server.new()
        name = sqlalchemy.make_url(self.url).database or ""
        self._disk = server.folder / "data" / name
        stack.enter_context(small_disk(self._disk, 32, server.folder))
        stack.callback(self._drop_tables)

    def _drop_tables(self) -> None:
        self.end()
        with closing(Database(self.url)) as database, database.transaction() as connection:
            for table in ("queued_job", "queued_job_log", "queued_job_version"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")

    def begin(self) -> None:
        fill(self._disk)

    def end(self) -> None:
        (self._disk / "filler").unlink(missing_ok=True)
