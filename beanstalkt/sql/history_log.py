"""Reads the history: what became of jobs, the newest first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import BeanstalkException
from .database import Database, describe
from .database_thread import DatabaseThread
from .statements import with_lists

FILTERS = ("tube", "event", "server", "beanstalk_job_id", "job_id")
"""The columns of the history by which rows can be chosen."""

LOOK_BACK = 200_000
"""Rows that are looked at for one answer at most: tubes have no index."""

TIMEOUT = 10.0
"""Seconds that the database may take for an answer."""

_COLUMNS = (
    *("id", "job_id", "server", "beanstalk_job_id", "tube", "event", "attempt"),
    *("http_status", "duration_ms", "msg"),
)


class HistoryUnavailable(BeanstalkException):
    """Report that the database did not answer, in time or at all."""


class HistoryLog:
    """The log of a history, read in a thread of its own.

    :param url: of the database, see `Database`

    Raises InvalidArgument.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._thread = DatabaseThread("history")
        self._reading: asyncio.Future[dict[str, Any]] | None = None

    async def read(
        self,
        filters: Mapping[str, str | int | list[str]],
        before: int | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Return ``rows``, and ``next``, which is the `before` of the rows that are older.

        :param filters: what columns of `FILTERS` must hold; of a list, any one will do
        :param before: only rows whose ids are below this one; None: the newest
        :param limit: the number of rows at most

        ``next`` is None where there are no older rows. Raises HistoryUnavailable.
        """
        if self._reading is not None and not self._reading.done():
            raise HistoryUnavailable("the database is still busy with an earlier question")
        self._reading = self._thread.call(self._read, dict(filters), before, limit)
        try:
            return await asyncio.wait_for(asyncio.shield(self._reading), TIMEOUT)
        except asyncio.TimeoutError:
            raise HistoryUnavailable(
                f"{self._database.shown} did not answer within {TIMEOUT:g} s"
            ) from None
        except SQLAlchemyError as error:
            raise HistoryUnavailable(f"{self._database.shown}: {describe(error)}") from None

    def close(self) -> None:
        """Let the thread end, once the database has answered. The loop need not run any more."""
        self._thread.close()

    def _read(
        self, filters: dict[str, str | int | list[str]], before: int | None, limit: int
    ) -> dict[str, Any]:
        ago = self._database.dialect.seconds_until("created_at")
        with self._database.reading() as connection:
            if before is None:
                newest = connection.execute(text("SELECT max(id) FROM queued_job_log")).scalar()
                before = (newest or 0) + 1
            oldest = max(before - LOOK_BACK, 1)
            names = [name for name in FILTERS if name in filters]
            conditions = [
                f"{name} IN :{name}" if isinstance(filters[name], list) else f"{name} = :{name}"
                for name in names
            ]
            found = connection.execute(
                with_lists(
                    f"SELECT {', '.join(_COLUMNS)}, {ago} FROM queued_job_log WHERE "
                    + " AND ".join(["id < :before", "id >= :oldest", *conditions])
                    + " ORDER BY id DESC LIMIT :most",
                    filters,
                ),
                {**filters, "before": before, "oldest": oldest, "most": limit},
            ).all()
        now = time.time()
        rows = [
            {**dict(zip(_COLUMNS, row, strict=False)), "time": now + float(row[-1])}
            for row in found
        ]
        following = rows[-1]["id"] if len(rows) == limit else oldest
        return {"rows": rows, "next": following if following > 1 else None}
