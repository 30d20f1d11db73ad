"""The program in examples/outbox, with everything that it starts, in one command."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "outbox" / "app.py"


async def test_the_demo_takes_orders_and_shows_what_became_of_them(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        "--demo",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 25)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    orders = [json.loads(line.partition(": ")[2]) for line in out.decode().splitlines()]
    assert [order["customer"] for order in orders] == ["ada", "grace", "barbara"]
    for order in orders:
        assert (order["state"], order["job"], order["http_status"]) == ("confirmed", "done", 200)
        assert order["last_response"] == "confirmed"
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database:
        events = database.execute("SELECT event, count(*) FROM queued_job_log GROUP BY event")
        assert dict(events) == {"sent": 3, "started": 3, "finished": 3}
