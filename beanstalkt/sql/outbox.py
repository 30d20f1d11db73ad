"""The table ``queued_job`` as the relay sees it: claim rows, and say what became of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from ..protocol.arguments import MAX_NUMBER
from . import statements
from .database import Database
from .rows import QueuedJob

CLAIM_SECONDS = 120
"""Seconds for which a claim lasts. It is far more than putting a batch takes."""

ERROR_LENGTH = 1000
"""Characters of an error that are stored."""


@dataclass(slots=True)  # not frozen, as `QueuedJob`
class Settled:
    """What became of a row that was claimed.

    :ivar state: ``sent``, ``failed``, ``new`` (it is to be claimed again) or ``in doubt``
    :ivar server: name of the server that has the job
    :ivar server_run: the server's own ``id``, which is another one after each restart
    :ivar job: the job's id there
    :ivar event_id: of the event in the history; None: there is none
    """

    id: int
    state: str
    server: str | None = None
    server_run: str | None = None
    job: int | None = None
    error: str | None = None
    tube: str | None = None
    event_id: str | None = None


class Outbox:
    """The table of a database, for the relay of a name. Raises sqlalchemy.exc.SQLAlchemyError.

    :param name: what the claims of this relay are known by
    :param doubtful: the state of rows whose claims are taken back: ``new`` or ``in doubt``
    """

    def __init__(
        self,
        database: Database,
        name: str,
        doubtful: str = "new",
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        self.database = database
        self._name = name
        self._doubtful = doubtful
        self._claim_seconds = claim_seconds

    def take_back_own(self) -> int:
        """End the claims that an earlier process of this name has left; return how many."""
        reason = f"relay {self._name} ended while it was putting this row"
        with self.database.transaction() as connection:
            return self._take_back(connection, statements.take_back_own, reason)

    def claim(
        self,
        limit: int,
        *,
        max_size: int = MAX_NUMBER,
        expired: bool = False,
        held: Sequence[int] | None = None,
    ) -> list[QueuedJob]:
        """Claim new rows, and return them, the oldest first.

        :param limit: rows to claim at most
        :param max_size: bytes of a job at most; of a longer one, only the size is returned
        :param expired: whether to take back claims that have lasted too long before that
        :param held: after a claim whose answer was lost: the rows that this relay knows it has
            claimed. Others that it has claimed are new again
        """
        with self.database.transaction() as connection:
            if held is not None:
                self._forget(connection, held)
            if expired:
                reason = "a relay claimed this row, and did not say what became of it in time"
                self._take_back(connection, statements.take_back_expired, reason)
            return self._claim(connection, limit, max_size)

    def settle(self, settled: Sequence[Settled]) -> int:
        """Write what became of rows; return how many of them this relay still claimed."""
        with self.database.transaction() as connection:
            return self._settle(connection, settled)

    def _claim(self, connection: Connection, limit: int, max_size: int) -> list[QueuedJob]:
        dialect = self.database.dialect
        chosen = {"limit": limit, "max_size": max_size}
        values: dict[str, Any] = {"name": self._name, "seconds": self._claim_seconds}
        if dialect.returning:
            found = connection.execute(statements.claim(dialect), values | chosen)
            return sorted((QueuedJob(*row) for row in found), key=lambda row: row.id)
        found = connection.execute(statements.select_new(dialect), chosen)
        rows = [QueuedJob(*row) for row in found]
        if rows:
            ids = as_rows({"id": row.id} for row in rows)
            connection.execute(statements.claim_selected(dialect), values | {"rows": ids})
        return rows

    def _forget(self, connection: Connection, held: Sequence[int]) -> None:
        values = {"name": self._name, "rows": as_rows({"id": row_id} for row_id in held)}
        connection.execute(statements.forget_claims(self.database.dialect), values)

    def _settle(self, connection: Connection, settled: Sequence[Settled]) -> int:
        # Nearly always one group: so the rows are small, and so is what the database reads.
        groups: dict[tuple[str | None, ...], list[Settled]] = defaultdict(list)
        for each in settled:
            groups[each.state, each.server, each.server_run, each.error].append(each)
        return sum(self._settle_group(connection, group) for group in groups.values())

    def _settle_group(self, connection: Connection, group: Sequence[Settled]) -> int:
        """Write what became of rows that differ in the ids of their jobs and in tubes alone."""
        dialect, first = self.database.dialect, group[0]
        values = {
            "rows": as_rows(
                {"id": each.id, "job": each.job, "tube": each.tube, "event_id": each.event_id}
                for each in group
            ),
            "state": first.state,
            "server": first.server,
            "server_run": first.server_run,
            "error": storable(first.error),
        }
        if first.event_id is not None:
            connection.execute(statements.log_settled(dialect), values)
        sent = first.state == "sent"
        if not sent:
            del values["server"], values["server_run"]
        done = connection.execute(statements.settle(dialect, sent), values | {"name": self._name})
        return done.rowcount

    def _take_back(self, connection: Connection, statement: Any, reason: str) -> int:
        values = {"state": self._doubtful, "error": reason}
        if statement is statements.take_back_own:
            values["name"] = self._name
        done = connection.execute(statement(self.database.dialect), values)
        return done.rowcount


def as_rows(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as the JSON that a statement takes."""
    return json.dumps(list(rows), separators=(",", ":"))


def storable(text: str | None) -> str | None:
    """Return a text that every database can store: without NULs and halves of characters."""
    if text is None:
        return None
    return text[:ERROR_LENGTH].replace("\0", "\\0").encode("utf-8", "replace").decode()
