"""The table ``queued_job`` as the relay sees it: claim rows, and say what became of them."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from ..protocol.arguments import MAX_NUMBER
from . import statements
from .database import Database
from .rows import QueuedJob

log = logging.getLogger("beanstalkt.outbox")

CLAIM_SECONDS = 120
"""Seconds for which a claim lasts. It is far more than putting a batch takes."""

ERROR_LENGTH = 1000
"""Characters of an error that are stored."""


@dataclass(slots=True)  # not frozen, as `QueuedJob`
class Settled:
    """What became of rows that were claimed: the same of all of them.

    :ivar state: ``sent``, ``failed``, ``new`` (they are to be claimed again) or ``in doubt``
    :ivar rows: of each row its id, the id of its job in the server (None: it has none), its tube
    :ivar server: name of the server that has the jobs
    :ivar server_run: the server's own ``id``, which is another one after each restart
    :ivar event: what the ids of the events in the history begin with; None: there are none
    """

    state: str
    rows: Sequence[tuple[int, int | None, str | None]]
    server: str | None = None
    server_run: str | None = None
    error: str | None = None
    event: str | None = None


class _Mark(NamedTuple):
    """How rows that became the same are marked.

    :ivar sent: whether their jobs were put
    :ivar logged: whether the history gets an event for each
    :ivar size: the number of rows
    :ivar values: the parameters of the statements
    """

    sent: bool
    logged: bool
    size: int
    values: dict[str, Any]


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
        self._held: set[int] = set()  # rows that `claim` has returned, and that are not settled
        self._unsure = False  # whether no answer came to the last transaction
        self._next = 0.0  # when others have had their part, on the monotonic clock

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
        settled: Sequence[Settled] = (),
    ) -> list[QueuedJob]:
        """Claim new rows, and return them, the oldest first.

        :param limit: rows to claim at most
        :param max_size: bytes of a job at most; of a longer one, only the size is returned
        :param expired: whether to take back claims that have lasted too long before that
        :param settled: what became of other rows, which is written in the same transaction
        """
        # The database may have carried out the last claim although no answer came.
        again, self._unsure = self._unsure, True
        ended = {row_id for each in settled for row_id, _, _ in each.rows}
        marks = self._marks(settled)  # before the transaction: SQLite has one at a time
        time.sleep(max(0.0, self._next - time.monotonic()))
        began = time.monotonic()
        with self.database.transaction() as connection:
            self._mark(connection, marks, again)
            if again:
                self._forget(connection, self._held - ended)
            if expired:
                reason = "a relay claimed this row, and did not say what became of it in time"
                self._take_back(connection, statements.take_back_expired, reason)
            found = self._claim(connection, limit, max_size) if limit else []
        self._unsure = False
        now = time.monotonic()
        self._next = now + self.database.dialect.pause * (now - began)
        rows = [QueuedJob(*row) for row in found]
        self._held -= ended
        self._held.update([row.id for row in rows])
        return rows

    def settle(self, settled: Sequence[Settled]) -> int:
        """Write what became of rows; return how many of them this relay still claimed."""
        marks = self._marks(settled)
        again, self._unsure = self._unsure, True
        with self.database.transaction() as connection:
            count = self._mark(connection, marks, again)
        self._unsure = False
        self._held.difference_update(row_id for each in settled for row_id, _, _ in each.rows)
        return count

    def _claim(self, connection: Connection, limit: int, max_size: int) -> Sequence[Any]:
        dialect = self.database.dialect
        chosen = {"limit": limit, "max_size": max_size}
        values: dict[str, Any] = {"name": self._name, "seconds": self._claim_seconds}
        if dialect.returning:
            found = connection.execute(statements.claim(dialect), values | chosen)
            return sorted(found.all(), key=itemgetter(0))
        rows = connection.execute(statements.select_new(dialect), chosen).all()
        if rows:
            ids = dialect.parameters(statements.ID, [row[:1] for row in rows])
            connection.execute(statements.claim_selected(dialect), values | ids)
        return rows

    def _forget(self, connection: Connection, held: Iterable[int]) -> None:
        dialect = self.database.dialect
        ids = dialect.parameters(statements.ID, [(row_id,) for row_id in held])
        connection.execute(statements.forget_claims(dialect), {"name": self._name, **ids})

    def _marks(self, settled: Iterable[Settled]) -> list[_Mark]:
        """Return how rows are marked: all that became the same by one statement."""
        groups: dict[tuple[str | None, ...], list[tuple[int, int | None, str | None]]]
        groups = defaultdict(list)
        for each in settled:
            key = (each.state, each.server, each.server_run, each.error, each.event)
            groups[key] += each.rows
        return [
            _Mark(
                state == "sent",
                event is not None,
                len(rows),
                {
                    **self.database.dialect.parameters(statements.SETTLED, rows),
                    "name": self._name,
                    "state": state,
                    "server": server,
                    "server_run": server_run,
                    "error": storable(error),
                    "event": event,
                },
            )
            for (state, server, server_run, error, event), rows in groups.items()
        ]

    def _mark(self, connection: Connection, marks: Sequence[_Mark], again: bool) -> int:
        """Mark rows; return how many of them this relay still claimed.

        :param again: whether that may have been done already
        """
        dialect = self.database.dialect
        count = missing = 0
        for mark in marks:
            if mark.logged:
                connection.execute(statements.log_settled(dialect, again), mark.values)
            marked = connection.execute(
                statements.settle(dialect, mark.sent), mark.values
            ).rowcount
            count += marked
            if marked < mark.size:
                missing += mark.size - marked
                if again:  # the answer may be all that was lost
                    missing -= self._marked_before(connection, mark, marked)
        if missing:
            log.warning(
                "%d rows were no longer claimed by this relay when they were marked, and may be "
                "put twice",
                missing,
            )
        return count

    def _marked_before(self, connection: Connection, mark: _Mark, marked: int) -> int:
        """Return how many rows an earlier transaction has marked, besides those of this one."""
        if not mark.sent:  # there is no job to be put twice
            return mark.size - marked
        found = connection.execute(statements.marked(self.database.dialect), mark.values)
        return int(found.scalar_one()) - marked

    def _take_back(self, connection: Connection, statement: Any, reason: str) -> int:
        values = {"name": self._name, "state": self._doubtful, "error": reason}
        done = connection.execute(statement(self.database.dialect), values)
        return done.rowcount


def storable(text: str | None) -> str | None:
    """Return a text that every database can store: without NULs and halves of characters."""
    if text is None:
        return None
    return text[:ERROR_LENGTH].replace("\0", "\\0").encode("utf-8", "replace").decode()
