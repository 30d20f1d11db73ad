"""The job browser: the jobs that match a filter, and all that is known of one job."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import fields
from typing import Any

from ..admin import JobRecord, Progress, Scan, Selection, export_jobs
from ..admin.record import record_of
from .decoders import preview, views
from .server_handler import ServerHandler, selection_of, whole
from .watch import Watch

MAX_JOBS = 1000
"""Jobs that one request lists at most."""

FLUSH_SIZE = 32 * 1024
"""Bytes after which what was found is sent."""


def row_of(record: JobRecord) -> dict[str, Any]:
    """Return a job as the list shows it."""
    row = {each.name: getattr(record, each.name) for each in fields(record) if each.name != "body"}
    if record.body is not None:
        row.update(size=len(record.body), preview=preview(record.body))
    return row


class JobsHandler(ServerHandler):
    """List jobs as they are found, a line of JSON each, with the progress in between.

    A line is ``{"job": …}``, ``{"progress": …}``, at the end ``{"end": …}``, and
    ``{"error": …}`` if it could not come there.
    """

    async def get(self, server: str) -> None:
        """Scan the server, until there are enough or the browser goes away."""
        watch = self.watch(server)
        values = self.query()
        limit = min(whole("limit", values.pop("limit", "50")), MAX_JOBS)
        selection = selection_of(values)
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        await self.while_connected(self._list(watch, selection, limit))

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
    """Show one job: its statistics, and its body in every way that makes sense."""

    async def get(self, server: str, job_id: str) -> None:
        """Answer with the job. It stays where it is."""
        async with self.watch(server).client() as client:
            stats: Any
            stats, job = await asyncio.gather(
                client.stats_job(int(job_id)), client.peek(int(job_id))
            )
        record = record_of(stats)
        record.body = job.body
        self.json({"job": row_of(record), "views": views(job.body)})


class BodyHandler(ServerHandler):
    """Send the body of a job as it is."""

    async def get(self, server: str, job_id: str) -> None:
        """Answer with the bytes. A browser saves them, and never shows them as a page."""
        async with self.watch(server).client() as client:
            job = await client.peek(int(job_id))
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{server}-{job_id}"')
        self.finish(job.body)


class ExportHandler(ServerHandler):
    """Send the jobs of a filter as lines of JSON, from which they can be imported again."""

    async def get(self, server: str) -> None:
        """Send the lines as fast as the browser takes them. A failure cuts the download off."""
        watch = self.watch(server)
        selection = selection_of(self.query())
        name = "-".join([server, *sorted(selection.tubes)]).replace("/", "_").replace(";", "_")
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}.jsonl"')
        await self.while_connected(self._export(watch, selection))

    async def _export(self, watch: Watch, selection: Selection) -> None:
        several = len(self.context.settings.servers) > 1
        async with watch.client() as client:
            waiting = 0
            # By its name, the server is in each line.
            async for line in export_jobs({watch.name: client} if several else client, selection):
                self.write(line)
                waiting += len(line)
                if waiting > FLUSH_SIZE:
                    waiting = 0
                    await self.flush()
        await self.finish()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Cut the connection where a part was sent: a browser then tells that it failed."""
        if self._headers_written and self.request.connection is not None:
            self.detach().close()
        else:
            super().send_error(status_code, **kwargs)
