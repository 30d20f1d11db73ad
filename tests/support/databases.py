"""Private database servers of tests: unprivileged, in a temporary folder, on a unix socket.

They are Debian's, which `make databases` installs, or those of a folder that the environment
names: `BEANSTALKT_TEST_POSTGRESQL` for initdb and postgres, `BEANSTALKT_TEST_MYSQL` for
mariadbd and mariadb-install-db, or for MySQL's mysqld. A test without the programs is skipped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pytest

from beanstalkt.sql.database import Database

from .processes import gone, long_lived

PATIENCE = 60.0
"""Seconds that a server may take to start or to stop on a busy machine."""

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
"""The time zone of the servers: not that of the tests, and with a summer time."""

_numbers = itertools.count(1)


def program(name: str, variable: str) -> str | None:
    """Return the path of a program of the newest version that is installed.

    :param variable: of the environment: where it is set, only its folder is looked at
    """
    folders = ["/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    path = os.pathsep.join([os.environ.get("PATH", ""), *reversed(folders)])
    return shutil.which(name, path=os.environ.get(variable) or path)


class DatabaseServer(ABC):
    """A server of one kind. It gives each test an empty database of its own."""

    #: programs that are needed: the server, and the one that makes its files
    programs: tuple[str | None, ...]
    name: str

    def __init__(self) -> None:
        if None in self.programs:
            pytest.skip(f"{self.name} is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="beanstalkt-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        # Of two MariaDBs with the same folder for temporary files, one removes those of the other.
        environment = {**os.environ, "TMPDIR": str(self.folder), "TZ": ZONE}
        self._options: dict[str, object] = {"env": environment}
        if os.geteuid() == 0:  # neither of them runs as root
            nobody = pwd.getpwnam("nobody")
            self._options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.folder.chmod(0o755)
        self._log = (self.folder / "log").open("wb")
        try:
            self._run(self.make_files())
            self.start()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def make_files(self) -> Sequence[str]:
        """The command that makes the files of a new server."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command that runs the server."""

    @abstractmethod
    def socket(self) -> Path:
        """The unix socket on which it listens."""

    @abstractmethod
    def url_of(self, database: str) -> str:
        """The URL of a database of the server."""

    #: signals that end the server at once, and at all
    stop_signal = signal.SIGTERM

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            **self._options,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        # Where the tests themselves are killed, their servers end with them.
        setpriv = shutil.which("setpriv")
        bound = [setpriv, "--pdeathsig=KILL", "--"] if setpriv is not None else []
        self.process = subprocess.Popen(
            [*bound, *self.command()],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            **self._options,  # type: ignore[call-overload]
        )
        long_lived.add(self.process.pid)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"{self.name} does not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        if not self.socket().exists():  # a driver may leave its own socket open when it fails
            return False
        database = Database(self.url_of(self.first))
        try:
            with database.reading():
                return True
        except Exception:
            return False
        finally:
            database.close()

    #: the database that a new server has
    first: str

    def new(self) -> str:
        """Make an empty database, and return its URL."""
        name = f"test{next(_numbers)}"
        database = Database(self.url_of(self.first))
        with contextlib.closing(database), database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def processes(self) -> list[int]:
        """The server, and the processes that it has started."""
        assert self.process is not None
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended by itself
            children = []
        return [pid, *map(int, children)]

    def freeze(self) -> None:
        """Keep its connections, and answer nothing."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self, signum: int | None = None) -> None:
        """End it: with SIGKILL as in a crash."""
        if self.process is None:
            return
        started = self.processes()
        self.process.send_signal(signum or self.stop_signal)
        self.thaw()
        self.process.wait(PATIENCE)
        self.process = None
        deadline = time.monotonic() + PATIENCE
        while not all(map(gone, started[1:])):
            assert time.monotonic() < deadline, f"processes of {self.name} are left"
            time.sleep(0.01)
        self.socket().unlink(missing_ok=True)  # it is left after a kill

    def close(self) -> None:
        """End it and all that it has started, and remove its files."""
        if self.process is not None:
            for pid in self.processes()[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.stop(signal.SIGKILL)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_POSTGRESQL, _MYSQL = "BEANSTALKT_TEST_POSTGRESQL", "BEANSTALKT_TEST_MYSQL"


class PostgreSQL(DatabaseServer):
    """A PostgreSQL that loses its data when the machine crashes, which is fast."""

    name = "postgresql"
    programs = (program("initdb", _POSTGRESQL), program("postgres", _POSTGRESQL))
    stop_signal = signal.SIGINT  # ends its sessions, too
    first = "postgres"

    def make_files(self) -> Sequence[str]:
        options = ["--no-sync", "--auth=trust", "--username=test", "--encoding=UTF8", "--locale=C"]
        return [str(self.programs[0]), *options, "--pgdata", str(self.folder / "data")]

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "40",
        }
        words = [word for name, text in settings.items() for word in ("-c", f"{name}={text}")]
        return [str(self.programs[1]), "-D", str(self.folder / "data"), *words]

    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def url_of(self, database: str) -> str:
        return f"postgresql://test@/{database}?host={self.folder}"


class MariaDB(DatabaseServer):
    """A MariaDB that loses its data when the machine crashes, which is fast."""

    name = "mariadb"
    programs = (program("mariadb-install-db", _MYSQL), program("mariadbd", _MYSQL))
    first = "mysql"
    #: options of this server that the other one does not know
    own: tuple[str, ...] = ()

    def make_files(self) -> Sequence[str]:
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        data = f"--datadir={self.folder / 'data'}"
        return [str(self.programs[0]), "--no-defaults", data, *options]

    def command(self) -> Sequence[str]:
        return [
            str(self.programs[1]),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket()}",
            "--skip-networking",
            "--innodb-buffer-pool-size=32M",
            "--innodb-flush-log-at-trx-commit=2",
            *self.own,
        ]

    def socket(self) -> Path:
        return self.folder / "socket"

    def url_of(self, database: str) -> str:
        return f"mysql://root@localhost/{database}?unix_socket={self.socket()}"


class MySQL(MariaDB):
    """A MySQL that loses its data when the machine crashes, which is fast."""

    name = "mysql"
    programs = (program("mysqld", _MYSQL),) * 2
    own = ("--skip-log-bin", "--mysqlx=OFF", "--secure-file-priv=NULL")

    def make_files(self) -> Sequence[str]:
        data = f"--datadir={self.folder / 'data'}"
        return [str(self.programs[0]), "--no-defaults", "--initialize-insecure", data]


class SQLite:
    """Files in a folder, with the ways of a server as far as they make sense."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> str:
        return f"sqlite:///{self.folder / f'test{next(_numbers)}.db'}"


SERVERS: dict[str, type[DatabaseServer]] = {
    "postgresql": PostgreSQL,
    # MySQL itself only where a folder is named that has it, and no MariaDB.
    "mysql": MySQL if MariaDB.programs[1] is None and os.environ.get(_MYSQL) else MariaDB,
}
"""The kinds of servers, by what a URL calls them."""
