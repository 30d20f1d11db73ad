"""The pipeline without a loop and without a socket: every reply to its own caller, no job lost."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beanstalkt
from beanstalkt import Client, Job
from beanstalkt.client.pipeline import GRACE, UNANSWERED, Pipeline, returns_job
from beanstalkt.client.requests import (
    MISSING,
    CommandChunk,
    Holder,
    InternalRequest,
    PriorityLookup,
    PutChunk,
    Request,
    ReserveJobRequest,
    ReserveNowRequest,
    ReserveRequest,
    SettleRequest,
    TubeRequest,
)
from beanstalkt.errors import BeanstalkException, ConnectionLost, UnexpectedResponse
from beanstalkt.protocol.commands import (
    BURY,
    DELETE,
    LIST_TUBE_USED,
    PUT,
    RELEASE,
    RESERVE,
    RESERVE_JOB,
    RESERVE_WITH_TIMEOUT,
    STATS_JOB,
    USE,
    WATCH,
    Command,
    encode_put,
)

CLIENT = Client()  # what the methods of jobs go to; none is called here


class Result:
    """What a caller waits for, where there is no event loop."""

    def __init__(self, holder: Holder | None = None) -> None:
        self.holder = holder
        self.value: Any = None
        self.error: BaseException | None = None
        self.settled = False
        self.gone = False

    def done(self) -> bool:
        return self.settled or self.gone

    def set_result(self, result: Any, /) -> None:
        assert not self.settled
        self.settled, self.value = True, result

    def set_exception(self, exception: BaseException, /) -> None:
        assert not self.settled
        self.settled, self.error = True, exception

    def cancel(self) -> None:
        self.gone = True
        if self.holder is not None:
            self.holder.abandon(self)


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pipeline(clock: Clock) -> Pipeline:
    return Pipeline(clock)


def put(body: bytes = b"x") -> tuple[Request, Result]:
    result = Result()
    return Request(PUT, encode_put(1, 0, 120, body), result), result


def reserve(pipeline: Pipeline, timeout: int | None = None) -> tuple[ReserveRequest, Result]:
    result = Result(pipeline)
    if timeout is None:
        return ReserveRequest(RESERVE, RESERVE.form, result, CLIENT), result
    kind = ReserveRequest if timeout else ReserveNowRequest
    payload = RESERVE_WITH_TIMEOUT.encode(timeout)
    return kind(RESERVE_WITH_TIMEOUT, payload, result, CLIENT, timeout), result


def delete(pipeline: Pipeline, job_id: int) -> tuple[Request, Result]:
    result = Result()
    return SettleRequest(DELETE, DELETE.encode(job_id), result, job_id, pipeline.jobs), result


def release(pipeline: Pipeline, job_id: int, delay: int = 0) -> tuple[Request, Result]:
    """A release that keeps the job's priority."""
    result = Result()
    settle = SettleRequest(RELEASE, b"", result, job_id, pipeline.jobs)
    return PriorityLookup(job_id, settle, delay), result


# --- requests in, bytes out ---


def test_requests_leave_in_the_order_of_the_calls(pipeline: Pipeline) -> None:
    for body in (b"1", b"2"):
        assert pipeline.send(put(body)[0])
    assert pipeline.send(delete(pipeline, 7)[0])
    assert pipeline.data_to_send() == (
        encode_put(1, 0, 120, b"1") + encode_put(1, 0, 120, b"2") + b"delete 7\r\n"
    )
    assert pipeline.data_to_send() == b""


def test_positions_count_every_byte(pipeline: Pipeline) -> None:
    requests = [put(b"x" * size)[0] for size in (0, 5, 100)]
    sizes = [len(request.payload) for request in requests]
    for request in requests:
        pipeline.send(request)
    assert [request.position for request in requests] == [0, sizes[0], sizes[0] + sizes[1]]
    assert pipeline.position == sum(sizes)


def test_behind_a_waiting_reserve_only_reserves_are_written(pipeline: Pipeline) -> None:
    assert pipeline.send(reserve(pipeline)[0])
    assert not pipeline.send(put()[0])
    # What comes after something that is queued is queued too: the order counts.
    assert not pipeline.send(reserve(pipeline)[0])
    assert pipeline.data_to_send() == b"reserve\r\n"
    assert pipeline.receive(b"RESERVED 1 1\r\nx\r\n")
    assert pipeline.data_to_send() == encode_put(1, 0, 120, b"x") + b"reserve\r\n"


def test_a_reserve_that_does_not_wait_blocks_nothing(pipeline: Pipeline) -> None:
    assert pipeline.send(reserve(pipeline, 0)[0])
    result = Result(pipeline)
    assert pipeline.send(ReserveJobRequest(RESERVE_JOB, RESERVE_JOB.encode(5), result, CLIENT))
    assert pipeline.send(put()[0])
    assert not pipeline.blocking


def test_a_unit_is_queued_as_a_unit(pipeline: Pipeline) -> None:
    pipeline.send(reserve(pipeline)[0])
    assert not pipeline.send_unit([put(b"1")[0], put(b"2")[0]])
    pipeline.data_to_send()
    pipeline.receive(b"TIMED_OUT\r\n")
    assert pipeline.data_to_send() == encode_put(1, 0, 120, b"1") + encode_put(1, 0, 120, b"2")


def test_from_one_tube_to_the_next_it_does_not_come_back_in_between(pipeline: Pipeline) -> None:
    for tube in ("a", "a", "b"):
        pipeline.send_in_tube(InternalRequest(LIST_TUBE_USED, b"?\r\n"), tube, "home")
    assert pipeline.data_to_send() == (b"use a\r\n?\r\n?\r\nuse b\r\n?\r\nuse home\r\n")
    # What has left cannot be taken back.
    pipeline.send_in_tube(InternalRequest(LIST_TUBE_USED, b"?\r\n"), "b", "home")
    assert pipeline.data_to_send() == b"use b\r\n?\r\nuse home\r\n"


def test_a_refused_tube_switch_closes(pipeline: Pipeline) -> None:
    pipeline.send_in_tube(put()[0], "a", "home")
    with pytest.raises(beanstalkt.OutOfMemory):
        pipeline.receive(b"OUT_OF_MEMORY\r\n")


# --- bytes in, settled requests out ---


def test_each_reply_goes_to_the_oldest_request(pipeline: Pipeline) -> None:
    sent = [put(), delete(pipeline, 3), put()]
    for request, _ in sent:
        pipeline.send(request)
    for byte in b"INSERTED 5\r\nNOT_FOUND\r\nINSERTED 6\r\n":
        pipeline.receive(bytes([byte]))
    (_, first), (_, second), (_, third) = sent
    assert (first.value, third.value) == (5, 6)
    assert isinstance(second.error, beanstalkt.NotFound)
    assert not pipeline.in_flight


def test_receive_tells_whether_anything_was_answered(pipeline: Pipeline) -> None:
    pipeline.send(put()[0])
    assert not pipeline.receive(b"INSERT")
    assert pipeline.receive(b"ED 1\r\n")


def test_the_ids_of_many_puts_come_in_one_go_or_in_pieces(pipeline: Pipeline) -> None:
    ids: list[int | None] = []
    ends: list[BeanstalkException | None] = []
    results = []
    for _ in range(3):
        request, result = put()
        results.append(result)
        pipeline.send(request)
    pipeline.send(PutChunk(b"", 1000, ids, ends.append))
    request, last = put()
    pipeline.send(request)
    replies = b"".join(b"INSERTED %d\r\n" % number for number in range(1, 1005))
    for begin in range(0, len(replies), 777):
        pipeline.receive(replies[begin : begin + 777])
    assert [result.value for result in results] == [1, 2, 3]
    assert ids == list(range(4, 1004))
    assert ends == [None]
    assert last.value == 1004


def test_a_refusal_among_many_puts_is_one_puts_own(pipeline: Pipeline) -> None:
    ids: list[int | None] = []
    ends: list[BeanstalkException | None] = []
    pipeline.send(PutChunk(b"", 4, ids, ends.append))
    pipeline.receive(b"INSERTED 1\r\nJOB_TOO_BIG\r\nINSERTED 3\r\nDRAINING\r\n")
    assert ids == [1, None, 3, None]
    assert [type(error) for error in ends] == [beanstalkt.JobTooBig]


@pytest.mark.parametrize("first", [True, False])
def test_an_id_for_what_is_no_put_is_unexpected(pipeline: Pipeline, first: bool) -> None:
    if not first:
        pipeline.send(put()[0])
    request, result = delete(pipeline, 1)
    pipeline.send(request)
    pipeline.send(put()[0])
    with pytest.raises(UnexpectedResponse, match="delete"):
        pipeline.receive(b"INSERTED 1\r\n" * (2 - first))
    assert isinstance(result.error, UnexpectedResponse)


def test_a_reply_without_a_request_is_unexpected(pipeline: Pipeline) -> None:
    with pytest.raises(UnexpectedResponse, match="no command was waiting"):
        pipeline.receive(b"INSERTED 1\r\n")


def test_bytes_that_are_no_reply_fail_the_oldest_request(pipeline: Pipeline) -> None:
    (request, result), (other, later) = put(), put()
    pipeline.send(request)
    pipeline.send(other)
    with pytest.raises(UnexpectedResponse) as raised:
        pipeline.receive(b"x" * 5000)
    assert result.error is raised.value
    assert raised.value.command == "put"
    assert not later.settled


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("garbage", [b"x" * 5000, b"OK 2\r\nabXY", b"INSERTED 1\r\n"])
def test_bytes_that_are_no_reply_leave_none_of_many_commands_behind(
    pipeline: Pipeline, garbage: bytes, before: int
) -> None:
    """The commands written together that have no reply yet are lost with the connection."""
    for _ in range(before):
        pipeline.send(put()[0])
    ids: list[int | None] = []
    ends: list[BeanstalkException | None] = []
    deletes = Result()
    pipeline.send(CommandChunk(DELETE, [b"delete 1\r\n"] * 3, deletes))
    pipeline.send(PutChunk(b"", 3, ids, ends.append))
    with pytest.raises(UnexpectedResponse):
        pipeline.receive(b"INSERTED 7\r\n" * before + garbage)
    for request in pipeline.clear():
        request.lost("the stream was out of step", sent=True)
    assert [type(error) for error in deletes.value] == [UnexpectedResponse, *[ConnectionLost] * 2]
    assert ids == [None] * 3
    assert [type(error) for error in ends] == [ConnectionLost]


def test_a_lookup_lets_nothing_come_between_it_and_its_command(pipeline: Pipeline) -> None:
    lookup, result = release(pipeline, 5, delay=3)
    pipeline.send(lookup)
    later, _ = reserve(pipeline)
    assert not pipeline.send(later)
    assert pipeline.data_to_send() == b"stats-job 5\r\n"
    pipeline.receive(b"OK 10\r\n---\npri: 9\r\n")
    assert pipeline.data_to_send() == b"release 5 9 3\r\nreserve\r\n"
    pipeline.receive(b"RELEASED\r\n")
    assert result.settled
    assert result.error is None


# --- reserves without a caller ---


def test_the_next_caller_waits_for_the_job_of_a_cancelled_reserve(pipeline: Pipeline) -> None:
    request, first = reserve(pipeline)
    pipeline.send(request)
    first.cancel()
    request, second = reserve(pipeline)
    assert not pipeline.send(request)
    assert pipeline.data_to_send() == b"reserve\r\n"
    assert not pipeline.stuck  # any job will do for a plain reserve
    pipeline.receive(b"RESERVED 5 1\r\nx\r\n")
    assert isinstance(second.value, Job)
    assert second.value.origin is pipeline
    assert pipeline.jobs == {5}


def test_a_timed_reserve_after_a_cancelled_one_is_stuck(pipeline: Pipeline) -> None:
    request, first = reserve(pipeline)
    pipeline.send(request)
    assert not pipeline.stuck
    first.cancel()
    assert not pipeline.stuck
    pipeline.send(reserve(pipeline, 3)[0])
    assert pipeline.stuck


def test_a_command_after_a_cancelled_reserve_is_stuck(pipeline: Pipeline) -> None:
    request, result = reserve(pipeline)
    pipeline.send(request)
    pipeline.send(put()[0])
    assert not pipeline.stuck
    result.cancel()
    assert pipeline.stuck


def test_a_job_without_a_caller_goes_back_with_its_priority(pipeline: Pipeline) -> None:
    request, result = reserve(pipeline)
    pipeline.send(request)
    result.cancel()
    pipeline.data_to_send()
    pipeline.receive(b"RESERVED 5 1\r\nx\r\n")
    assert pipeline.data_to_send() == b"stats-job 5\r\n"
    assert returns_job(pipeline.in_flight[0])
    pipeline.receive(b"OK 10\r\n---\npri: 9\r\n")
    assert pipeline.data_to_send() == b"release 5 9 0\r\n"
    pipeline.receive(b"NOT_FOUND\r\n")
    assert not pipeline.in_flight


def test_a_job_is_not_handed_to_a_reserve_of_other_tubes(pipeline: Pipeline) -> None:
    request, first = reserve(pipeline)
    pipeline.send(request)
    pipeline.send(TubeRequest(WATCH, b"watch a\r\n", Result(), list))
    request, second = reserve(pipeline)
    pipeline.send(request)
    first.cancel()
    pipeline.data_to_send()
    pipeline.receive(b"RESERVED 5 1\r\nx\r\n")
    assert not second.settled
    assert pipeline.data_to_send().startswith(b"stats-job 5\r\n")


def test_a_job_is_not_handed_over_past_a_change_that_is_in_flight(pipeline: Pipeline) -> None:
    request, first = reserve(pipeline, 0)
    pipeline.send(request)
    pipeline.send(TubeRequest(WATCH, b"watch a\r\n", Result(), list))
    request, second = reserve(pipeline)
    pipeline.send(request)
    first.cancel()
    pipeline.receive(b"RESERVED 5 1\r\nx\r\n")
    assert not second.settled


def test_a_job_goes_back_before_another_reserve_is_written(pipeline: Pipeline) -> None:
    """It may be just the job that this reserve would wait for."""
    request, first = reserve(pipeline, 5)
    pipeline.send(request)
    first.cancel()
    request, second = reserve(pipeline)
    pipeline.send(request)  # it shares the reserve that was cancelled
    pipeline.give_back(Job(7, b"x"), to_anyone=False)
    pipeline.data_to_send()
    pipeline.receive(b"TIMED_OUT\r\n")
    assert pipeline.data_to_send() == b"stats-job 7\r\n"
    pipeline.receive(b"OK 10\r\n---\npri: 9\r\n")
    assert pipeline.data_to_send() == b"release 7 9 0\r\nreserve\r\n"
    pipeline.receive(b"RELEASED\r\nRESERVED 7 1\r\nx\r\n")
    assert isinstance(second.value, Job)


# --- timeouts that the client keeps ---


def test_a_reserve_after_another_one_is_ended_on_time(clock: Clock, pipeline: Pipeline) -> None:
    pipeline.send(reserve(pipeline)[0])
    request, result = reserve(pipeline, 3)
    pipeline.send(request)
    assert pipeline.next_timeout == clock.now + 3
    clock.now += 3
    pipeline.expire()
    assert isinstance(result.error, beanstalkt.TimedOut)
    assert pipeline.next_timeout is None


def test_the_server_gets_time_to_say_that_there_is_no_job(
    clock: Clock, pipeline: Pipeline
) -> None:
    pipeline.send(reserve(pipeline)[0])
    request, result = reserve(pipeline, 0)
    pipeline.send(request)
    pipeline.expire()
    assert not result.settled
    assert pipeline.next_timeout == clock.now + GRACE
    clock.now += GRACE
    pipeline.expire()
    assert isinstance(result.error, beanstalkt.TimedOut)


def test_from_its_turn_on_the_server_keeps_the_time(clock: Clock, pipeline: Pipeline) -> None:
    pipeline.send(reserve(pipeline)[0])
    pipeline.send(put()[0])
    request, result = reserve(pipeline, 10)
    pipeline.send(request)
    clock.now += 4
    pipeline.data_to_send()
    pipeline.receive(b"TIMED_OUT\r\n")
    assert pipeline.data_to_send().endswith(b"reserve-with-timeout 6\r\n")
    assert pipeline.next_timeout is None
    clock.now += 100
    pipeline.expire()
    assert not result.settled


# --- the end ---


def test_clear_returns_every_request_with_a_caller(pipeline: Pipeline) -> None:
    request, gone = reserve(pipeline)
    pipeline.send(request)
    gone.cancel()
    sharing, _ = reserve(pipeline)
    pipeline.send(sharing)
    queued, _ = put()
    pipeline.send(queued)
    assert pipeline.clear() == [sharing, queued]
    assert not pipeline.in_flight
    assert not pipeline.queued
    assert not pipeline.blocking
    assert pipeline.data_to_send() == b""


def test_what_is_forgotten_gets_no_reply(pipeline: Pipeline) -> None:
    (first, lost), (second, kept) = put(), put()
    pipeline.send_unit([first, second])
    pipeline.forget([first])
    pipeline.receive(b"INSERTED 1\r\n")
    assert not lost.settled
    assert kept.value == 1


# --- anything at all, against a server that answers in order ---


class Server:
    """A beanstalkd with one tube, as one connection sees it; others put and take at will."""

    def __init__(self) -> None:
        self.inbox = b""
        self.outbox = b""
        self.ready: deque[int] = deque()
        self.reserved: set[int] = set()
        self.waiting: bytes | None = None  # the reserve that waits
        self.next_id = 1
        self.commands: list[bytes] = []

    def take(self, data: bytes) -> None:
        self.inbox += data
        while self.waiting is None and b"\r\n" in self.inbox:
            line, _, rest = self.inbox.partition(b"\r\n")
            verb, *words = line.split()
            if verb == b"put":
                end = int(words[-1]) + 2
                assert rest[end - 2 : end] == b"\r\n"
                rest = rest[end:]
            self.inbox = rest
            self.commands.append(verb)
            self._do(verb, [int(word) for word in words])

    def _do(self, verb: bytes, numbers: list[int]) -> None:
        if verb == b"put":
            self.outbox += b"INSERTED %d\r\n" % self._new()
        elif verb in (b"reserve", b"reserve-with-timeout"):
            if self.ready:
                self._reserve()
            elif numbers == [0]:
                self.outbox += b"TIMED_OUT\r\n"
            else:
                self.waiting = verb
        elif verb == b"delete":
            held = numbers[0] in self.reserved
            self.reserved.discard(numbers[0])
            self.outbox += b"DELETED\r\n" if held else b"NOT_FOUND\r\n"
        elif verb == b"stats-job":
            self.outbox += b"OK 10\r\n---\npri: 1\r\n"
        elif verb == b"release":
            self.reserved.discard(numbers[0])
            self.ready.append(numbers[0])
            self.outbox += b"RELEASED\r\n"
        else:
            raise AssertionError(verb)

    def _new(self) -> int:
        self.ready.append(self.next_id)
        self.next_id += 1
        return self.next_id - 1

    def _reserve(self) -> None:
        job_id = self.ready.popleft()
        self.reserved.add(job_id)
        self.outbox += b"RESERVED %d 1\r\nx\r\n" % job_id

    def another_puts(self) -> None:
        self._new()
        if self.waiting is not None:
            self.waiting = None
            self._reserve()
            self.take(b"")

    def time_is_over(self) -> None:
        if self.waiting == b"reserve-with-timeout":
            self.waiting = None
            self.outbox += b"TIMED_OUT\r\n"
            self.take(b"")


class Play:
    """A pipeline, a server, and what was asked of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pipeline = Pipeline(self.clock)
        self.server = Server()
        self.asked: list[tuple[Request, Result]] = []
        self.reserves: list[Result] = []

    def send(self, pair: tuple[Request, Result]) -> None:
        self.asked.append(pair)
        self.pipeline.send(pair[0])

    def reserve(self, timeout: int | None) -> None:
        pair = reserve(self.pipeline, timeout)
        self.reserves.append(pair[1])
        self.send(pair)

    def put(self) -> None:
        self.send(put())

    def settle(self, make: Callable[[Pipeline, int], tuple[Request, Result]]) -> None:
        for result in self.reserves:
            if isinstance(result.value, Job) and result.value.id in self.pipeline.jobs:
                self.pipeline.jobs.discard(result.value.id)
                self.send(make(self.pipeline, result.value.id))
                return

    def cancel(self, number: int) -> None:
        waiting = [result for result in self.reserves if not result.done()]
        if waiting:
            waiting[number % len(waiting)].cancel()

    def carry(self, size: int) -> None:
        """Carry all bytes to the server, and so many back."""
        self.server.take(self.pipeline.data_to_send())
        piece, self.server.outbox = self.server.outbox[:size], self.server.outbox[size:]
        if piece:
            self.pipeline.receive(piece)

    def finish(self) -> None:
        """Answer all that is asked, with as many jobs as that takes."""
        for _ in range(1000):
            self.carry(100_000)
            if self.server.outbox or self.pipeline.output:
                continue
            if self.server.waiting is None and not self.pipeline.in_flight:
                return
            self.server.another_puts()
        raise AssertionError("it does not end")


ops = st.one_of(
    st.tuples(st.just("put"), st.just(0)),
    st.tuples(st.just("reserve"), st.sampled_from([-1, -1, 0, 5, 50])),
    st.tuples(st.sampled_from(["delete", "release"]), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("carry"), st.integers(1, 60)),
    st.tuples(st.sampled_from(["another", "over"]), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 10)),
)


@given(st.lists(ops, max_size=60))
def test_every_reply_reaches_its_caller_and_no_job_is_lost(steps: list[tuple[str, int]]) -> None:
    play = Play()
    for step, number in steps:
        if step == "put":
            play.put()
        elif step == "reserve":
            play.reserve(None if number < 0 else number)
        elif step == "delete":
            play.settle(delete)
        elif step == "release":
            play.settle(release)
        elif step == "cancel":
            play.cancel(number)
        elif step == "carry":
            play.carry(number)
        elif step == "another":
            play.server.another_puts()
        elif step == "over":
            play.server.time_is_over()
        else:
            play.clock.now += number
            play.pipeline.expire()
        check_order(play.pipeline)
    play.finish()
    check_end(play)


def check_order(pipeline: Pipeline) -> None:
    """Nothing but reserves is in flight after a request that blocks the server."""
    blocked = False
    for request in pipeline.in_flight:
        assert not blocked or request.may_follow_reserve
        blocked = blocked or request.blocks
    assert pipeline.blocking == sum(request.blocks for request in pipeline.in_flight)


def check_end(play: Play) -> None:
    pipeline, server = play.pipeline, play.server
    for request, result in play.asked:
        if result.gone:
            continue
        assert result.settled
        if request.command is PUT:
            assert isinstance(result.value, int)
        elif isinstance(request, ReserveRequest):
            assert isinstance(result.value, Job) or isinstance(result.error, beanstalkt.TimedOut)
        else:
            assert result.error is None
    # Each job that is held has a caller who got it, and no two got the same at once.
    held = pipeline.jobs
    assert server.reserved == held
    got = [result.value.id for result in play.reserves if isinstance(result.value, Job)]
    assert held <= set(got)
    assert not pipeline.in_flight
    assert not pipeline.queued
    assert not pipeline.blocking


def test_lost_requests_know_whether_they_were_sent(pipeline: Pipeline) -> None:
    sent, unsent, queued = put(), put(), put()
    pipeline.send(sent[0])
    handed = len(pipeline.data_to_send())
    pipeline.send(unsent[0])
    pipeline.send(reserve(pipeline)[0])
    pipeline.send(queued[0])
    for request in pipeline.clear():
        request.lost("gone", sent=0 <= request.position < handed)
    for (_, result), expected in ((sent, True), (unsent, False), (queued, False)):
        assert isinstance(result.error, ConnectionLost)
        assert result.error.sent is expected


def test_keeping_the_priority_of_a_bury(pipeline: Pipeline) -> None:
    result = Result()
    pipeline.send(PriorityLookup(5, SettleRequest(BURY, b"", result, 5, pipeline.jobs)))
    assert pipeline.data_to_send() == STATS_JOB.encode(5)
    pipeline.receive(b"NOT_FOUND\r\n")
    assert isinstance(result.error, beanstalkt.NotFound)
    assert result.error.command == "bury"
    assert pipeline.data_to_send() == b""


def test_a_use_is_no_change_of_the_tubes_watched(pipeline: Pipeline) -> None:
    request, first = reserve(pipeline)
    pipeline.send(request)
    pipeline.send(TubeRequest(USE, b"use a\r\n", Result(), list))
    later, second = reserve(pipeline)
    pipeline.send(later)
    first.cancel()
    pipeline.receive(b"RESERVED 5 1\r\nx\r\n")
    assert isinstance(second.value, Job)


# --- chunks of puts ---


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_each_chunk_of_puts_gets_its_own_ids(sizes: list[int], cuts: list[int]) -> None:
    """However many replies come at once: those to the end of one chunk, and some of the next."""
    pipeline = Pipeline(Clock())
    ids: list[list[int | None]] = [[] for _ in sizes]
    for size, chunk_ids in zip(sizes, ids, strict=True):
        payload = encode_put(1, 0, 120, b"x") * size
        pipeline.send(PutChunk(payload, size, chunk_ids, lambda error: None))
    after, result = delete(pipeline, 7)
    pipeline.send(after)
    count = sum(sizes)
    replies = b"".join(b"INSERTED %d\r\n" % number for number in range(1, count + 1))
    data = replies + b"DELETED\r\n"
    for size in itertools.cycle(cuts):
        if not data:
            break
        pipeline.receive(data[: size * 5])
        data = data[size * 5 :]
    expected = iter(range(1, count + 1))
    assert ids == [list(itertools.islice(expected, size)) for size in sizes]
    assert result.settled
    assert not pipeline.in_flight


@given(st.data())
def test_the_results_of_many_commands_do_not_depend_on_how_the_replies_are_cut(
    data: st.DataObject,
) -> None:
    replies: list[tuple[Command, bytes, Any]] = [
        (DELETE, b"DELETED\r\n", None),
        (DELETE, b"NOT_FOUND\r\n", MISSING),
        (STATS_JOB, b"OK 12\r\n---\ntube: t\n\r\n", {"tube": "t"}),
        (STATS_JOB, b"NOT_FOUND\r\n", MISSING),
    ]
    kinds = st.sampled_from([DELETE, STATS_JOB])
    sizes = st.lists(st.tuples(kinds, st.integers(1, 6)), min_size=1, max_size=6)
    pipeline = Pipeline(lambda: 0.0)
    sent, expected, stream = [], [], b""
    for command, size in data.draw(sizes):
        result = Result()
        pipeline.send(CommandChunk(command, [b"%b 1\r\n" % command.verb.encode()] * size, result))
        fitting = st.sampled_from([each for each in replies if each[0] is command])
        chosen = [data.draw(fitting) for _ in range(size)]
        stream += b"".join(reply for _, reply, _ in chosen)
        sent.append(result)
        expected.append([value for _, _, value in chosen])
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        pipeline.receive(stream[:cut])
        stream = stream[cut:]
    assert [result.value for result in sent] == expected
    assert not pipeline.in_flight


def test_a_whole_success_needs_no_request(pipeline: Pipeline) -> None:
    assert pipeline.value_at_once(PUT, b"INSERTED 7\r\n") == 7
    assert pipeline.value_at_once(DELETE, b"DELETED\r\n") is None
    assert pipeline.value_at_once(RESERVE, b"RESERVED 7 2\r\n\r\n\r\n") == (7, b"\r\n")


@pytest.mark.parametrize(
    ("command", "chunk"),
    [
        (PUT, b""),
        (RESERVE, b""),
        (PUT, b"INSERTED 7\r"),
        (PUT, b"INSERTED 7\r\n\r\n"),
        (PUT, b"INSERTED x\r\n"),
        (PUT, b"BURIED 7\r\n"),
        (DELETE, b"NOT_FOUND\r\n"),
        (DELETE, b"DELETED 7\r\n"),
        (DELETE, b"DELETED\r\nDELETED\r\n"),
        (RESERVE, b"RESERVED 7 2\r\n12\r"),
        (RESERVE, b"RESERVED 7 2\r\n123\r\n"),
    ],
)
def test_nothing_else_is_taken_in_without_a_request(
    pipeline: Pipeline, command: Command, chunk: bytes
) -> None:
    assert pipeline.value_at_once(command, chunk) is UNANSWERED
    # Whoever makes the request then finds the stream as it was.
    request, result = put()
    pipeline.send(request)
    assert pipeline.receive(b"INSERTED 1\r\n")
    assert result.value == 1


@pytest.mark.parametrize("rest", [b"X", b"OK 50\r\nX"])
@pytest.mark.parametrize(
    ("command", "reply"), [(PUT, b"INSERTED 1\r\n"), (DELETE, b"DELETED\r\n")]
)
def test_nothing_is_taken_in_after_the_beginning_of_another_reply(
    pipeline: Pipeline, command: Command, reply: bytes, rest: bytes
) -> None:
    pipeline.send(put()[0])
    assert pipeline.receive(b"INSERTED 1\r\n" + rest)
    assert pipeline.value_at_once(command, reply) is UNANSWERED
    request, result = delete(pipeline, 1)
    pipeline.send(request)
    with suppress(UnexpectedResponse):
        pipeline.receive(b"DELETED\r\n")
    assert not result.settled or result.error is not None
