"""The job browser: the jobs that match a filter, and all that is known of one job."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..admin import JobRecord, Progress, Scan, Selection, select
from ..admin.record import record_of
from .decoders import preview, views
from .handlers import Api, refuse
from .watch import Watch

MAX_JOBS = 1000
"""Jobs that one request lists at most."""

MAX_PATTERN = 200
"""Characters of a regular expression at most."""

FLUSH_SIZE = 32 * 1024
"""Bytes after which what was found is sent."""


class ServerHandler(Api):
    """A handler whose path names a server. Only those that were configured can be named."""

    def watch(self, name: str) -> Watch:
        """Return the server with this name. Raises HTTPError 404."""
        watch = self.context.watches.get(name)
        if watch is None:
            refuse("No server of this name is configured.", 404)
        return watch


def selection_of(values: dict[str, Any]) -> Selection:
    """Return the selection that a filter of the page stands for.

    Raises HTTPError 400 for unknown fields and wrong types, and InvalidArgument for wrong values.
    """
    unknown = set(values) - set(_FIELDS)
    if unknown:
        refuse(f"The filter has no field {min(unknown)!r}.")
    chosen = {
        name: _FIELDS[name](name, value)
        for name, value in values.items()
        if value not in ("", None)
    }
    if len(chosen.get("pattern", "")) > MAX_PATTERN:
        refuse(f"A regular expression may have {MAX_PATTERN} characters here.")
    tube = chosen.pop("tube", ())
    return select(tube, chosen.pop("state", ()), **chosen)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        refuse(f"{name} must be text.")
    return value


def _names(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [each for each in value.split(",") if each]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        refuse(f"{name} must be a list of names.")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,20}", value):
        refuse(f"{name} must be a whole number.")
    return int(value)


_FIELDS: dict[str, Callable[[str, object], Any]] = {
    "tube": _text,
    "state": _names,
    "text": _text,
    "pattern": _text,
    "min_priority": _whole,
    "max_priority": _whole,
    "min_age": _whole,
    "max_age": _whole,
    "since_id": _whole,
    "until_id": _whole,
}
"""The fields of a filter, and what reads each."""


def row_of(record: JobRecord) -> dict[str, Any]:
    """Return a job as the list shows it."""
    row = {
        name: getattr(record, name) for name in JobRecord.__dataclass_fields__ if name != "body"
    }
    if record.body is not None:
        row.update(size=len(record.body), preview=preview(record.body))
    return row


class JobsHandler(ServerHandler):
    """Lists jobs as they are found, a line of JSON each, with the progress in between.

    A line is ``{"job": …}``, ``{"progress": …}``, and at the end ``{"end": …}`` or ``{"error": …}``.
    """

    def initialize(self, **shared: Any) -> None:
        """Take what handlers share."""
        super().initialize(**shared)
        self._task: asyncio.Task[Any] | None = None

    async def get(self, server: str) -> None:
        """Scan the server, until there are enough or the browser goes away."""
        watch = self.watch(server)
        values: dict[str, Any] = {
            name: self.get_query_argument(name) for name in self.request.query_arguments
        }
        limit = min(_whole("limit", values.pop("limit", "50")), MAX_JOBS)
        selection = selection_of(values)
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        await self.while_connected(self._list(watch, selection, limit))

    async def while_connected(self, work: Awaitable[None]) -> None:
        """Await something until the browser goes away."""
        self._task = asyncio.ensure_future(work)
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise

    def on_connection_close(self) -> None:
        """Stop what is done for a browser that has gone."""
        if self._task is not None:
            self._task.cancel()

    async def _list(self, watch: Watch, selection: Selection, limit: int) -> None:
        async with watch.client() as client:
            scan = Scan(client, selection, bodies=True, limit=limit, progress=self._progress)
            waiting = 0
            async for record in scan:
                waiting += self._line({"job": row_of(record)})
                if waiting > FLUSH_SIZE:
                    waiting = 0
                    await self.flush()  # as fast as the browser reads
            self._line(
                {
                    "end": {
                        "complete": scan.complete,
                        "range": scan.range,
                        "looked_at": scan.looked_at,
                        "matched": scan.matched,
                        "vanished": scan.vanished,
                        "put_since": scan.put_since,
                        "seconds": round(scan.seconds, 3),
                        "time": time.time(),
                    }
                }
            )
        await self.finish()

    def _line(self, value: dict[str, Any]) -> int:
        line = json.dumps(value, separators=(",", ":")) + "\n"
        self.write(line)
        return len(line)

    def _progress(self, progress: Progress) -> None:
        self._line(
            {
                "progress": {
                    "done": progress.done,
                    "total": progress.total,
                    "estimated": progress.estimated,
                    "jobs": progress.jobs,
                }
            }
        )
        self.flush()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Tell an error in a line of its own, where others were sent before."""
        if not self._headers_written:
            super().send_error(status_code, **kwargs)
            return
        error = kwargs.get("exc_info", (None, None, None))[1]
        self._line({"error": str(error) or "The list could not be completed."})
        self.finish()


class JobHandler(ServerHandler):
    """Shows one job: its statistics, and its body in every way that makes sense."""

    async def get(self, server: str, job_id: str) -> None:
        """Answer with the job. It stays where it is."""
        async with self.watch(server).client() as client:
            stats, job = await asyncio.gather(
                client.stats_job(int(job_id)), client.peek(int(job_id))
            )
        record = record_of(dict(stats))
        record.body = job.body
        self.json({"job": row_of(record), "views": views(job.body)})


class BodyHandler(ServerHandler):
    """Downloads the body of a job as it is."""

    async def get(self, server: str, job_id: str) -> None:
        """Answer with the bytes. A browser saves them, and never shows them as a page."""
        async with self.watch(server).client() as client:
            job = await client.peek(int(job_id))
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{server}-{job_id}"')
        self.finish(job.body)
