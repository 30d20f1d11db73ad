"""Nothing is lost and nothing is made up, whatever fails: an account of every job.

``make soak`` runs it for longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from beanstalkt import Client, NotFound
from beanstalkt.worker.handlers.command.handler import CommandHandler

from ..support.beanstalkd import Beanstalkd
from ..support.processes import children
from ..support.restarting_proxy import Proxy
from ..support.running import Events, Running, settings
from ..support.soak import FACTOR

SCALE = min(FACTOR, 50)
"""Beyond that, the binlog would take gigabytes."""

JOBS = 60 * SCALE
STRIKES = 8 * SCALE
TIMEOUT = 60 + 120 * SCALE

SCRIPT = """\
#!/bin/sh
# A job says how long it takes, and how it ends.
note() { echo "$BEANSTALKT_JOB_ID $*" >>"$NOTES"; }
trap 'note stopped; exit 143' TERM
read -r seconds status
note start
sleep "$seconds"
if [ "$status" = crash ]; then note crash; kill -9 $$; fi
note end "$status"
exit "$status"
"""

OPTIONS = {
    "on_temporary_fail": "release:0",
    "on_unknown_fail": "release:0",
    "on_timeout": "release:0",
    "on_exit": "75=release:1",
    "max_attempts": "6",
    "kill_grace": "1",
}

STATUSES = ["0"] * 8 + ["1", "2", "75", "crash"]


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Beanstalkd]:
    (tmp_path / "binlog").mkdir()
    server = Beanstalkd("-b", str(tmp_path / "binlog"), "-f", "0", "-s", "300000")
    server.start()
    yield server
    server.stop()


@pytest.mark.soak
@pytest.mark.gen_test(timeout=TIMEOUT)
async def test_every_job_is_accounted_for(
    durable: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    notes = tmp_path / "notes"
    notes.touch()
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setattr(CommandHandler, "linger", 0.2)
    before, children_before = len(os.listdir("/proc/self/fd")), len(children())
    options = {**OPTIONS, "command": str(script)}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.from_url(durable.url))
        # As long as they are there, the server goes on counting ids after a restart; and it
        # does not compact its binlog, at which it loses jobs when it is killed.
        await client.put_many([b"x" * 50_000] * 60 * SCALE, delay=100_000, tube="keep")
        ids = await client.put_many(
            [f"{chance.uniform(0, 0.4):.2f} {chance.choice(STATUSES)}\n" for _ in range(JOBS)],
            ttr=3,
            tube="mail",
        )
        # Two, as on two machines: what one loses, the other takes.
        proxies = [await stack.enter_async_context(Proxy(durable)) for _ in range(2)]
        runners = [
            await stack.enter_async_context(
                Running(settings(proxy.url, "mail:8", options=options))
            )
            for proxy in proxies
        ]
        chaos = Chaos(durable, proxies, chance)
        while await unfinished(client):
            if chaos.done.total() < STRIKES:
                await chaos.strike()
            else:
                await asyncio.sleep(0.05)
        states = {job_id: await state(client, job_id) for job_id in ids}
    events = runners[0].events  # of both: they share a log
    account = Account(notes.read_text(), events)
    print(
        f"{JOBS} jobs, {account.starts} runs; {dict(Counter(states.values()))}; "
        f"{dict(chaos.done)}; {account.doubles} runs beside another one of the same job, "
        f"{account.again} after a success; of {len(account.parted)} jobs the reservation was lost"
    )
    assert set(states.values()) <= {None, "buried"}
    for job_id, found in states.items():
        if found is None and job_id not in account.succeeded:
            told = [event for event in events.all if event.get("id") == job_id]
            raise AssertionError(f"job {job_id} is gone without a success: {told}")
    # Only a lost reservation has a job run again that runs or has succeeded.
    unexplained = account.doubled - account.parted
    assert not unexplained, [event for event in events.all if event.get("id") in unexplained]
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(children()) <= children_before


async def unfinished(client: Client) -> bool:
    """Whether any job is neither deleted nor buried; True when nobody can say."""
    try:
        stats = await client.stats_tube("mail")
    except NotFound:
        return False
    except OSError:
        await client.connect()
        return True
    return bool(
        stats["current-jobs-ready"]
        + stats["current-jobs-reserved"]
        + stats["current-jobs-delayed"]
    )


async def state(client: Client, job_id: int) -> str | None:
    try:
        return (await client.stats_job(job_id))["state"]
    except NotFound:
        return None


class Chaos:
    """Breaks one thing after the other."""

    def __init__(self, server: Beanstalkd, proxies: list[Proxy], chance: random.Random) -> None:
        self.server = server
        self.proxies = proxies
        self.chance = chance
        self.done: Counter[str] = Counter()

    async def strike(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, 0.5))
        what = self.chance.choice(["cut one", "cut one", "cut all", "refuse", "restart", "kill"])
        self.done[what] += 1
        proxy = self.chance.choice(self.proxies)
        if what == "cut one" and proxy.lines:
            self.chance.choice(proxy.lines).cut()
        elif what == "cut all":
            proxy.cut()
        elif what == "refuse":
            proxy.refuse()
            await asyncio.sleep(self.chance.uniform(0, 1))
            await proxy.accept()
        elif what == "restart":
            self.server.restart(signal.SIGTERM)
        elif what == "kill":
            self.server.restart()


class Account:
    """What the jobs have noted and the runners have logged."""

    def __init__(self, notes: str, events: Events) -> None:
        self.starts = self.doubles = self.again = 0
        self.succeeded: set[int] = set()
        #: jobs that ran while they ran, or after they had succeeded
        self.doubled: set[int] = set()
        #: jobs whose connection was lost before they were settled
        self.parted = {
            event["id"]
            for event in (
                *events.find("job", outcome="lost"),
                *events.find("job", answer="lost"),
                *events.find("taken-back"),
            )
        }
        running: Counter[int] = Counter()
        for line in notes.splitlines():
            job_id, what = int(line.split()[0]), line.split()[1:]
            if what == ["start"]:
                self.starts += 1
                self.doubles += running[job_id] > 0
                self.again += job_id in self.succeeded
                if running[job_id] or job_id in self.succeeded:
                    self.doubled.add(job_id)
                running[job_id] += 1
            else:
                running[job_id] -= 1
            if what == ["end", "0"]:
                self.succeeded.add(job_id)
