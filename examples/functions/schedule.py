"""Schedule a call of each function in tasks.py."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from beanstalkt import Client
from beanstalkt.dispatch import Scheduled, schedule_function

TUBE = "functions"


async def main() -> None:
    parser = argparse.ArgumentParser(description="Schedule some work.")
    parser.add_argument("--server", default="beanstalk://localhost:11300")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    options = parser.parse_args()
    picture, greeting, report = (
        str(options.folder / name) for name in ("cat.picture", "greeting.txt", "report.txt")
    )
    async with Client.from_url(options.server) as client:
        # The picture does not exist yet: the job is tried again.
        await schedule_function(client, TUBE, "resize", picture, width=100)
        # More urgent than the other jobs, but not ready before a second has passed.
        await schedule_function(
            client, TUBE, Scheduled("greet", priority=0, delay=1), greeting, "ada"
        )
        await schedule_function(client, TUBE, "report", report, ["one", "two"])
    await asyncio.sleep(0.5)
    Path(picture).write_bytes(b"picture" * 100)


if __name__ == "__main__":
    asyncio.run(main())
