"""What becomes of each row of a batch, whatever the server says. Without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from beanstalkt.errors import (
    BeanstalkException,
    Buried,
    ConnectionLost,
    Draining,
    InternalError,
    JobTooBig,
    OutOfMemory,
    UnexpectedResponse,
)
from beanstalkt.sql.outbox import Settled
from beanstalkt.sql.putting import Batch, Putter
from beanstalkt.sql.rows import Put

Answer = int | BeanstalkException


class ScriptedServer:
    """Answers the put of a body with what is scripted for it, as put_many and put would.

    :param chunk: bodies that put_many has under way; after an error it takes no more
    """

    def __init__(self, answers: Mapping[bytes, Answer] | None = None, chunk: int = 100) -> None:
        self.answers = dict(answers or {})
        self.taken: list[bytes] = []
        self.tubes: list[str | None] = []
        self.chunk = chunk
        self.run: dict[str, Any] | BeanstalkException = {"id": "run", "max-job-size": 100}

    def _answer(self, body: bytes) -> Answer:
        self.taken.append(body)
        return self.answers.get(body, len(self.taken))

    async def put(
        self, body: bytes, priority: int, delay: int, ttr: int, *, tube: str | None
    ) -> int:
        answer = self._answer(body)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def put_many(
        self, bodies: Iterable[bytes], priority: int, delay: int, ttr: int, *, tube: str | None
    ) -> list[int | None]:
        self.tubes.append(tube)
        ids: list[int | None] = []
        error: BeanstalkException | None = None
        for number, body in enumerate(bodies, 1):
            answer = self._answer(body)
            if isinstance(answer, int):
                ids.append(answer)
            else:
                ids.append(None)
                error = error or answer
            if error is not None and number % self.chunk == 0:
                break
        if error is not None:
            error.ids = ids
            raise error
        return ids

    async def stats(self) -> dict[str, Any]:
        if isinstance(self.run, BaseException):
            raise self.run
        return self.run

    def closed(self) -> bool:
        return False


def puts(*bodies: bytes, tube: str = "t") -> list[Put]:
    return [Put(number, tube, 0, 0, 60, body) for number, body in enumerate(bodies, 1)]


def by_row(batch: Batch) -> dict[int, Settled]:
    """What became of each row, which is in `batch` exactly once."""
    found = {row[0]: each for each in batch.settled for row in each.rows}
    assert len(found) == sum(len(each.rows) for each in batch.settled)
    return found


async def states(
    server: ScriptedServer, *bodies: bytes, doubtful: str = "new"
) -> dict[int, Settled]:
    found = by_row(await Putter(server, "one", doubtful).put(puts(*bodies)))
    assert len(found) == len(bodies)
    return found


async def test_what_goes_in_is_sent_with_its_server_run_and_id() -> None:
    server = ScriptedServer()
    found = await states(server, b"a", b"b")
    assert found[1] is found[2]
    sent = found[1]
    assert (sent.state, sent.server, sent.server_run) == ("sent", "one", "run")
    assert sent.rows == [(1, 1, "t"), (2, 2, "t")]


async def test_no_two_batches_have_the_same_events() -> None:
    putter = Putter(ScriptedServer(), "one")
    events = {(await putter.put(puts(b"a"))).settled[0].event for _ in range(3)}
    events.add((await Putter(ScriptedServer(), "one").put(puts(b"a"))).settled[0].event)
    assert len(events) == 4
    assert None not in events


async def test_rows_go_to_their_tubes_in_their_order() -> None:
    server = ScriptedServer()
    rows = [Put(n, "ab"[n % 2], n % 3, 0, 60, b"%d" % n) for n in range(12)]
    batch = await Putter(server, "one").put(rows)
    assert {each.state for each in batch.settled} == {"sent"}
    assert len(server.tubes) == 6
    for tube in "ab":
        for priority in range(3):
            group = [r.body for r in rows if (r.tube, r.priority) == (tube, priority)]
            assert [body for body in server.taken if body in group] == group


async def test_a_body_that_is_too_big_fails_alone() -> None:
    server = ScriptedServer({b"big": JobTooBig("too big"), b"huge": JobTooBig("too big")}, chunk=2)
    found = await states(server, b"a", b"big", b"c", b"huge", b"e")
    assert [found[n].state for n in range(1, 6)] == ["sent", "failed", "sent", "failed", "sent"]
    assert found[2].error == "too big"
    accepted = [body for body in server.taken if body not in server.answers]
    assert accepted == [b"a", b"c", b"e"]  # and none of them twice


async def test_the_limit_of_a_server_is_known_after_the_first_batch() -> None:
    server = ScriptedServer()
    putter = Putter(server, "one")
    await putter.put(puts(b"x"))
    (settled,) = (await putter.put(puts(b"x" * 101))).settled
    assert (settled.state, server.taken) == ("failed", [b"x"])
    assert settled.error == "the body is 101 bytes, the server takes 100"


@pytest.mark.parametrize("kind", [Draining, OutOfMemory, InternalError])
async def test_a_server_that_takes_nothing_now_gets_the_rows_later(
    kind: type[BeanstalkException],
) -> None:
    server = ScriptedServer({b"b": kind("not now")}, chunk=2)
    batch = await Putter(server, "one", "in doubt").put(puts(b"a", b"b", b"c"))
    assert {row: each.state for row, each in by_row(batch).items()} == {
        1: "sent",
        2: "new",
        3: "new",
    }
    assert isinstance(batch.refusal, kind)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ConnectionLost("gone", sent=True), "in doubt"),
        (ConnectionLost("gone", sent=False), "new"),
        (UnexpectedResponse("what"), "in doubt"),
    ],
)
async def test_only_what_the_server_may_have_is_in_doubt(
    error: BeanstalkException, state: str
) -> None:
    server = ScriptedServer({b"b": error}, chunk=2)
    found = await states(server, b"a", b"b", b"c", doubtful="in doubt")
    assert [found[n].state for n in (1, 2, 3)] == ["sent", state, "new"]
    if state == "in doubt":
        assert "not known whether the server has it" in str(found[2].error)


async def test_a_job_that_is_buried_at_once_is_in_the_server() -> None:
    error = Buried("out of memory")
    error.job_id = 77
    found = await states(ScriptedServer({b"b": error}), b"a", b"b", b"c")
    assert [found[n].state for n in (1, 2, 3)] == ["sent"] * 3
    assert found[2].rows == [(2, 77, "t")]
    assert "buried it at once" in str(found[2].error)


async def test_each_put_alone_may_fail_in_its_own_way() -> None:
    answers: dict[bytes, Answer] = {
        b"first": JobTooBig("too big"),
        b"lost": ConnectionLost("gone", sent=True),
        b"later": OutOfMemory("full"),
        b"unsent": ConnectionLost("gone", sent=False),
    }
    server = ScriptedServer(answers, chunk=1)
    batch = await Putter(server, "one", "in doubt").put(puts(*answers, b"fine"))
    found = {row: each.state for row, each in by_row(batch).items()}
    assert found == {1: "failed", 2: "in doubt", 3: "new", 4: "new", 5: "sent"}
    assert isinstance(batch.refusal, OutOfMemory)


async def test_without_its_statistics_a_server_has_no_run() -> None:
    server = ScriptedServer()
    server.run = ConnectionLost("gone", sent=True)
    found = await states(server, b"a")
    assert (found[1].state, found[1].server_run) == ("sent", None)


async def test_an_id_of_several_servers_names_the_server() -> None:
    class Pool(ScriptedServer):
        @property
        def clients(self) -> dict[str, ScriptedServer]:
            east = ScriptedServer()
            east.run = {"id": "eastern run"}
            away = ScriptedServer()
            away.closed = lambda: True  # type: ignore[method-assign]
            return {"west": self, "east": east, "away": away}

        async def put_many(self, *arguments: Any, **options: Any) -> Any:
            ids = await super().put_many(*arguments, **options)
            return [f"east/{job_id}" for job_id in ids]

    found = await states(Pool(), b"a")
    sent = found[1]
    assert (sent.server, sent.server_run, sent.rows) == ("east", "eastern run", [(1, 1, "t")])


async def test_a_defect_is_not_hidden() -> None:
    class Broken(ScriptedServer):
        async def put_many(self, *arguments: Any, **options: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Putter(Broken(), "one").put(puts(b"a"))
    await asyncio.sleep(0)
