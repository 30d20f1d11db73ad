"""The function handler, without a server: what is called, and that nothing harms but itself."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from beanstalkt.dispatch.table import TableError
from beanstalkt.worker.attempt import Attempt
from beanstalkt.worker.config.loading import ConfigError, Flags, load
from beanstalkt.worker.handlers.function.address_space import address_space, parse_size
from beanstalkt.worker.handlers.function.handler import FunctionHandler, table_source
from beanstalkt.worker.policy.outcome import Kind, Outcome

from ....support import functions
from ....support.processes import gone, no_child_left, until_gone, until_written
from ....support.work import make_work

TABLE = "tests.support.functions:TABLE"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor and no child may be left by any test."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before
    no_child_left()


@asynccontextmanager
async def handling(source: Any = TABLE, **options: Any) -> AsyncIterator[FunctionHandler]:
    handler = FunctionHandler(source, **options)
    try:
        yield handler
    finally:
        await handler.close()


def body(function: str, *args: object, **kwargs: object) -> bytes:
    return json.dumps({"function": function, "args": args, "kwargs": kwargs}).encode()


async def call(handler: FunctionHandler, function: str, *args: object, **work: Any) -> Outcome:
    return await handler.run(make_work(body(function, *args), **work))


async def one(function: str, *args: object, **options: Any) -> Outcome:
    async with handling(**options) as handler:
        return await call(handler, function, *args)


# --- what is called --------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["write", "write_async", "direct", "Logged", "LoggedAsync"])
async def test_returning_is_success(function: str, tmp_path: Path) -> None:
    outcome = await one(function, str(tmp_path / "out"))
    assert outcome == Outcome(Kind.SUCCESS, details={"function": function})
    assert (tmp_path / "out").read_text()


async def test_arguments_arrive_and_base64_does_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "out")
    plain = body("write", path, text="é\n")
    async with handling() as handler:
        for data in (plain, base64.b64encode(plain), base64.encodebytes(plain)):
            assert (await handler.run(make_work(data))).kind is Kind.SUCCESS
    assert (tmp_path / "out").read_text() == "é\n" * 3


async def test_a_body_of_10_mb_arrives(tmp_path: Path) -> None:
    outcome = await one("write", str(tmp_path / "out"), "x" * 10_000_000)
    assert outcome.kind is Kind.SUCCESS
    assert (tmp_path / "out").stat().st_size == 10_000_000


async def test_a_single_function_needs_no_name(tmp_path: Path) -> None:
    async with handling("tests.support.functions:write") as handler:
        bare = json.dumps({"args": [str(tmp_path / "out")], "kwargs": {}}).encode()
        assert (await handler.run(make_work(bare))).kind is Kind.SUCCESS
        assert (await call(handler, "write", str(tmp_path / "out"))).kind is Kind.SUCCESS
        assert (await call(handler, "ends", 0)).kind is Kind.PERMANENT_FAIL
    assert (tmp_path / "out").read_text() == "done\n" * 2


NEVER: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"hello", "neither"),
    (b"\xff\xfe", "neither"),
    (b"{", "not JSON"),
    (b'{"function": "write"', "not JSON"),
    (b'{"function": "\xff"}', "not JSON"),
    (b"[]", "neither"),
    (base64.b64encode(b"[1]"), "not a JSON object"),
    (base64.b64encode(b"\xff"), "not JSON"),
    (b'{"a": ' * 100_000, "nested too deeply"),
    (b'{"function": 1, "args": [], "kwargs": {}}', "function must be"),
    (b'{"function": null, "args": [], "kwargs": {}}', "function must be"),
    (b'{"args": [], "kwargs": {}}', "function is missing"),
    (b'{"function": "write"}', "missing a required argument: 'path'"),
    (b'{"function": "write", "args": {}, "kwargs": {}}', "args must be"),
    (b'{"function": "write", "args": [], "kwargs": []}', "kwargs must be"),
    (b'{"function": "write", "args": [NaN], "kwargs": {}}', "NaN"),
    (body("os.system", "true"), "no function 'os.system'"),
    (body("generator"), "no function 'generator'"),
    (body("x" * 100_000), "no function"),
    (body("takes"), "missing a required argument"),
    (body("takes", 1, 2, 3), "too many"),
    (body("takes", 1, d=2), "unexpected keyword argument 'd'"),
    (body("takes", 1, a=2), "multiple values"),
    (body("write_async"), "missing a required argument"),
    (body("Logged"), "missing a required argument"),
]


@pytest.mark.parametrize(("data", "reason"), NEVER, ids=range(len(NEVER)))
async def test_what_can_never_be_called_fails_for_good(data: bytes, reason: str) -> None:
    async with handling() as handler:
        outcome = await handler.run(make_work(data))
        assert outcome.kind is Kind.PERMANENT_FAIL
        assert reason in outcome.error
        assert len(outcome.error) <= 1000
        assert not handler._children  # it was not even tried


RAISED = [
    ("value", "ValueError", "no such user"),
    ("unpicklable", "Unpicklable", "of no pickle"),
    ("hostile", "Hostile", ""),
    ("long", "ValueError", "x" * 1000),
    ("surrogate", "ValueError", "\ud800"),
    ("exit", "SystemExit", "0"),
    ("timeout", "TimeoutError", "of a socket"),
]


@pytest.mark.parametrize("function", ["raises", "raises_async"])
async def test_raising_is_an_unknown_fail(function: str) -> None:
    async with handling() as handler:
        for kind, exception, error in RAISED:
            outcome = await call(handler, function, kind)
            assert outcome.kind is Kind.UNKNOWN_FAIL, kind
            assert outcome.details["exception"] == exception
            assert "raises" in str(outcome.details["backtrace"]) or kind == "long"
            assert error in outcome.error
            assert len(outcome.error) <= 1000


@pytest.mark.parametrize("kind", ["interrupt", "stop"])
async def test_no_exception_is_a_success(kind: str) -> None:
    assert (await one("raises", kind)).kind is Kind.UNKNOWN_FAIL


EVERY = ["panic", "hopeless", "closed", "stopped", "cancelled", "interrupt", "exit"]


@pytest.mark.parametrize("function", ["raises", "raises_async"])
async def test_whatever_is_raised_is_an_unknown_fail(function: str) -> None:
    async with handling() as handler:
        for kind in EVERY:
            outcome = await Attempt(handler, make_work(body(function, kind)), 1).wait()
            assert outcome.kind is Kind.UNKNOWN_FAIL, kind
            assert outcome.details["exception"] in (
                *("Panic", "Hopeless", "GeneratorExit", "Stopped", "CancelledError"),
                *("KeyboardInterrupt", "SystemExit"),
            )


@pytest.mark.parametrize("function", ["raises", "raises_async"])
async def test_a_reason_without_a_text_rejects_as_well(function: str) -> None:
    outcome = await one(function, "hopeless reject")
    assert (outcome.kind, outcome.error) == (Kind.REJECT, "Hopeless")


RETRIES = ["retries", "retries_async", "retries_wrongly", "retries_wrongly_async"]


@pytest.mark.parametrize("function", RETRIES)
async def test_a_number_of_any_kind_is_a_delay(function: str) -> None:
    async with handling() as handler:
        for delay in list(functions.DELAYS)[:7]:
            outcome = await call(handler, function, delay)
            assert (outcome.kind, outcome.delay) == (Kind.RETRY, 30), delay


@pytest.mark.parametrize("function", RETRIES)
async def test_what_is_no_delay_is_refused_in_every_function(function: str) -> None:
    async with handling() as handler:
        for delay in list(functions.DELAYS)[7:]:
            outcome = await call(handler, function, delay)
            assert outcome.kind is Kind.UNKNOWN_FAIL, delay
            assert outcome.details["exception"] == "ValueError", delay
            assert "a delay must be from 0 to 2**32 - 1 seconds" in outcome.error


@pytest.mark.parametrize("function", ["raises", "raises_async"])
async def test_retry_and_reject_are_heeded(function: str) -> None:
    async with handling() as handler:
        retry = await call(handler, function, "retry")
        assert (retry.kind, retry.delay, retry.error) == (Kind.RETRY, 7, "OSError: away")
        reject = await call(handler, function, "reject")
        assert (reject.kind, reject.error) == (Kind.REJECT, "never again")


async def test_what_is_returned_need_not_be_pickled() -> None:
    assert (await one("returns_what_cannot_be_pickled")).kind is Kind.SUCCESS


# --- children --------------------------------------------------------------------------------


async def test_a_slot_keeps_its_child_and_has_it_alone(tmp_path: Path) -> None:
    async with handling() as handler:
        for slot in (1, 1, 2, 1, 2):
            await call(handler, "pid", str(tmp_path / str(slot)), slot=slot)
        assert len(handler._running) == 2
    first, second = ((tmp_path / name).read_text().split() for name in "12")
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]
    assert os.getpid() not in map(int, first + second)
    assert gone(int(first[0]))


async def test_a_child_is_replaced_after_so_many_jobs(tmp_path: Path) -> None:
    async with handling(max_child_jobs=2) as handler:
        for _ in range(5):
            await call(handler, "pid", str(tmp_path / "out"))
    pids = (tmp_path / "out").read_text().split()
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


async def test_a_child_has_nothing_of_the_runners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKT_TIMEOUT", "30")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        assert (await one("tells", str(tmp_path / "out"))).kind is Kind.SUCCESS
    # Its own session; the socket and the pipe to the runner; no signal ignored; no setting.
    assert (tmp_path / "out").read_text() == "True ['pipe', 'socket'] 0 []\n"


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        ("ends", [0], "exit status 0"),
        ("ends", [3], "exit status 3"),
        ("crashes", [], "SIGSEGV"),
        ("closes_everything", [], "SIGKILL"),
    ],
)
async def test_a_child_that_dies_harms_its_own_job_only(
    function: str, args: list[Any], error: str, tmp_path: Path
) -> None:
    async with handling() as handler:
        path = str(tmp_path / "out")
        other = asyncio.ensure_future(call(handler, "cleans_up", path, slot=2))
        await until_written(tmp_path / "out")
        outcome = await call(handler, function, *args)
        assert outcome.kind is Kind.UNKNOWN_FAIL
        assert error in outcome.error
        assert not other.done()
        assert (await call(handler, "write", path)).kind is Kind.SUCCESS
        other.cancel()
        await other


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        ("closes_the_channel", [], "its child process closed its connection to the runner"),
        ("writes_to_the_channel", ["{"], "its child process sent the runner an invalid reply"),
        ("writes_to_the_channel", ["[" * 100_000], "an invalid reply"),
        ("writes_to_the_channel", ["[]"], "an invalid reply"),
        ("writes_to_the_channel", ['{"kind": "success"}'], "an invalid reply"),
        ("rejects_without_end", [], "could not be sent to the runner: Object of type lock"),
    ],
)
async def test_an_answer_that_does_not_arrive_is_said_so(
    function: str, args: list[Any], error: str, tmp_path: Path
) -> None:
    async with handling() as handler:
        outcome = await asyncio.wait_for(call(handler, function, *args), 20)
        assert outcome.kind is Kind.UNKNOWN_FAIL
        assert error in outcome.error
        assert (await call(handler, "write", str(tmp_path / "out"))).kind is Kind.SUCCESS


@pytest.mark.parametrize("function", ["forks", "forks_and_raises"])
async def test_a_copy_that_comes_back_is_ended(function: str, tmp_path: Path) -> None:
    async with handling() as handler:
        for _ in range(3):
            assert (await call(handler, function)).kind is Kind.SUCCESS
            assert (await call(handler, "pid", str(tmp_path / "out"))).kind is Kind.SUCCESS
    assert len(set((tmp_path / "out").read_text().split())) == 1


async def test_what_a_function_started_ends_with_its_child(tmp_path: Path) -> None:
    async with handling(max_child_jobs=1) as handler:
        await call(handler, "leaves_a_process", str(tmp_path / "out"))
        await until_gone(int(await until_written(tmp_path / "out")))


async def test_without_stdin_a_child_is_not_used_again(tmp_path: Path) -> None:
    async with handling() as handler:
        await call(handler, "pid", str(tmp_path / "out"))
        assert (await call(handler, "closes_stdin")).kind is Kind.SUCCESS
        await call(handler, "pid", str(tmp_path / "out"))
    assert len(set((tmp_path / "out").read_text().split())) == 2


async def test_an_alarm_that_a_function_leaves_behind_is_stopped(tmp_path: Path) -> None:
    async with handling() as handler:
        await call(handler, "sets_an_alarm")
        child = handler._children[1]
        await asyncio.wait({child.ended}, timeout=0.6)
        assert child.usable


async def test_what_a_function_prints_comes_out(capfd: pytest.CaptureFixture[str]) -> None:
    async with handling() as handler:
        await call(handler, "prints", "hello")
        await call(handler, "prints_and_dies", "last words")
    out, err = capfd.readouterr()
    assert out == "hello\nlast words\n"
    assert err == "hello\n"


async def test_memory_is_limited(tmp_path: Path) -> None:
    limit = 400 << 20
    async with handling(max_child_memory=limit) as handler:
        outcome = await call(handler, "eats", 10_000)
        assert outcome.kind is Kind.UNKNOWN_FAIL
        assert outcome.details["exception"] == "MemoryError"
        assert (await call(handler, "eats", 10)).kind is Kind.SUCCESS


async def test_a_leak_does_not_starve_the_next_job(tmp_path: Path) -> None:
    async with handling(max_child_memory=600 << 20) as handler:
        for _ in range(6):
            assert (await call(handler, "leaks", 200)).kind is Kind.SUCCESS


async def test_too_little_memory_is_said_so() -> None:
    async with handling(max_child_memory=1 << 20) as handler:
        outcome = await call(handler, "eats", 1)
        assert outcome.kind is Kind.NOT_STARTED
        assert "max_child_memory is 1048576" in outcome.error


async def test_a_child_that_cannot_be_started_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with handling() as handler:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        assert (await call(handler, "eats", 1)).kind is Kind.NOT_STARTED
        monkeypatch.undo()
        monkeypatch.setattr(FunctionHandler, "child_program", "import sys; sys.exit(5)")
        outcome = await call(handler, "eats", 1)
        assert outcome.kind is Kind.NOT_STARTED
        assert "exit status 5" in outcome.error


async def test_a_child_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FunctionHandler, "child_program", "import time; time.sleep(100)")
    monkeypatch.setattr(FunctionHandler, "child_start_timeout", 0.2)
    outcome = await one("eats", 1)
    assert outcome.kind is Kind.NOT_STARTED


async def test_a_start_that_takes_longer_than_a_job_may_goes_on(tmp_path: Path) -> None:
    async with handling() as handler:
        first = asyncio.ensure_future(call(handler, "pid", str(tmp_path / "out")))
        while not handler._children:
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        child = handler._children[1]
        await call(handler, "pid", str(tmp_path / "out"))
        assert handler._children[1] is child


async def test_without_pidfd_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    async with handling() as handler:
        assert (await call(handler, "ends", 3)).error.endswith("exit status 3")
        assert (await call(handler, "eats", 1)).kind is Kind.SUCCESS


async def test_children_log_as_the_runner_does() -> None:
    program = f"""
import asyncio, json, logging
from beanstalkt.worker.handlers.function.handler import FunctionHandler
from beanstalkt.worker.log.lines import JSONFormatter
from tests.support.work import make_work
stream = logging.StreamHandler()
stream.setFormatter(JSONFormatter())
logging.getLogger().addHandler(stream)
async def main():
    handler = FunctionHandler({{"warn": "logging.warning"}})
    await handler.run(make_work({body("warn", "careful")!r}))
    await handler.close()
asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    line = json.loads(run.stderr)
    assert (line["level"], line["message"]) == ("warning", "careful")


async def test_children_end_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio
from beanstalkt.worker.handlers.function.handler import FunctionHandler
from tests.support.work import make_work
async def main():
    handler = FunctionHandler({TABLE!r})
    await handler.run(make_work({body("leaves_a_process", str(tmp_path / "idle"))!r}, slot=2))
    await handler.run(make_work({body("pid", str(tmp_path / "idle"))!r}, slot=2))
    await handler.run(make_work({body("ignores_term", str(tmp_path / "busy"))!r}))
asyncio.run(main())
"""
    runner = subprocess.Popen([sys.executable, "-c", program])
    try:
        busy = await until_written(tmp_path / "busy")
    finally:
        runner.kill()
        runner.wait()
    for pid in (busy + (tmp_path / "idle").read_text()).split():
        await until_gone(int(pid))


# --- stopping --------------------------------------------------------------------------------


async def stopped(
    handler: FunctionHandler, function: str, path: Path, grace: float
) -> Outcome | None:
    """Run it, and tell it to end as soon as it has begun; None: it was cancelled."""
    work = make_work(body(function, str(path)), kill_grace=grace)
    task = asyncio.ensure_future(handler.run(work))
    await until_written(path)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


@pytest.mark.parametrize("function", ["cleans_up", "cleans_up_async"])
async def test_a_function_that_is_stopped_can_clean_up(function: str, tmp_path: Path) -> None:
    async with handling() as handler:
        outcome = await stopped(handler, function, tmp_path / "out", 100)
        assert outcome is None or outcome.kind is Kind.UNKNOWN_FAIL
        for child in list(handler._running):  # and is not kept until the grace is over
            await child.ended
        assert (tmp_path / "out").read_text() == "began\ncleaned up\n"
        assert (await call(handler, "pid", str(tmp_path / "out"))).kind is Kind.SUCCESS


async def test_an_endless_loop_is_ended(tmp_path: Path) -> None:
    async with handling() as handler:
        outcome = await stopped(handler, "for_ever", tmp_path / "out", 20)
        assert outcome is not None
        assert outcome.kind is Kind.UNKNOWN_FAIL
        await until_gone(int((tmp_path / "out").read_text()))


async def test_who_ignores_it_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    async with handling() as handler:
        began = time.monotonic()
        outcome = await stopped(handler, "ignores_term", tmp_path / "out", 0.2)
        assert outcome is not None
        assert "SIGKILL" in outcome.error
        assert time.monotonic() - began < 15
        for pid in (tmp_path / "out").read_text().split():
            await until_gone(int(pid))


async def test_a_second_cancel_means_at_once(tmp_path: Path) -> None:
    async with handling() as handler:
        work = make_work(body("ignores_term", str(tmp_path / "out")), kill_grace=100)
        task = asyncio.ensure_future(handler.run(work))
        await until_written(tmp_path / "out")
        task.cancel()
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        assert (await task).kind is Kind.UNKNOWN_FAIL


async def test_closing_ends_what_runs(tmp_path: Path) -> None:
    async with handling() as handler:
        task = asyncio.ensure_future(call(handler, "ignores_term", str(tmp_path / "out")))
        await until_written(tmp_path / "out")
    assert (await task).kind is Kind.UNKNOWN_FAIL


# --- tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "how", "kind", "calls"),
    [
        ("Logged", "", Kind.SUCCESS, "run success completion"),
        ("Logged", "raise", Kind.UNKNOWN_FAIL, "run error ValueError completion"),
        ("Logged", "hook", Kind.UNKNOWN_FAIL, "run success completion"),
        ("Quick", "sleep", Kind.TIMEOUT, "run error TaskTimeout completion"),
        ("AsyncHooks", "", Kind.SUCCESS, "run success completion"),
        ("LoggedAsync", "", Kind.SUCCESS, "run success completion"),
        ("LoggedAsync", "raise", Kind.UNKNOWN_FAIL, "run error ValueError completion"),
        ("LoggedAsync", "hook", Kind.UNKNOWN_FAIL, "run success completion"),
        ("QuickAsync", "sleep", Kind.TIMEOUT, "run error TaskTimeout completion"),
        ("QuickAsync", "raise", Kind.UNKNOWN_FAIL, "run error ValueError completion"),
    ],
)
async def test_a_task_has_a_limit_and_hooks(
    task: str, how: str, kind: Kind, calls: str, tmp_path: Path
) -> None:
    async with handling() as handler:
        outcome = await call(handler, task, str(tmp_path / "out"), how)
        assert outcome.kind is kind
        assert (tmp_path / "out").read_text().split() == calls.split()


@pytest.mark.parametrize(
    ("task", "error"), [("Logged", "Stopped"), ("LoggedAsync", "CancelledError")]
)
async def test_the_hooks_of_a_task_that_is_stopped_are_called(
    task: str, error: str, tmp_path: Path
) -> None:
    async with handling() as handler:
        data = body(task, str(tmp_path / "out"), "sleep")
        running = asyncio.ensure_future(handler.run(make_work(data, kill_grace=20)))
        await until_written(tmp_path / "out")
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled() or running.result().kind is Kind.UNKNOWN_FAIL
    assert (tmp_path / "out").read_text().split() == ["run", "error", error, "completion"]


async def test_a_task_that_does_not_heed_its_limit_is_killed(tmp_path: Path) -> None:
    async with handling() as handler:
        outcome = await call(handler, "Deaf", str(tmp_path / "out"), kill_grace=0.3)
        assert outcome.kind is Kind.TIMEOUT
        assert "more than 0.2 s" in outcome.error
        assert (tmp_path / "out").read_text() == "deaf\n"


@pytest.mark.parametrize(
    ("function", "args", "kind"),
    [
        ("raises", ["value"], Kind.SUCCESS),
        ("raises_async", ["value"], Kind.SUCCESS),
        ("Quick", ["sleep"], Kind.SUCCESS),
        ("raises", ["retry"], Kind.RETRY),
        ("raises", ["reject"], Kind.REJECT),
        ("ends", [0], Kind.UNKNOWN_FAIL),
        ("takes", [], Kind.PERMANENT_FAIL),
    ],
)
async def test_swallow_deletes_what_raised(
    function: str, args: list[str], kind: Kind, tmp_path: Path
) -> None:
    if function == "Quick":
        args = [str(tmp_path / "out"), *args]
    outcome = await one(function, *args, swallow=True)
    assert outcome.kind is kind
    assert ("swallowed" in outcome.details) == (kind is Kind.SUCCESS)


async def test_swallow_does_not_delete_what_was_stopped(tmp_path: Path) -> None:
    async with handling(swallow=True) as handler:
        outcome = await stopped(handler, "cleans_up", tmp_path / "out", 20)
        assert outcome is not None
        assert outcome.kind is Kind.UNKNOWN_FAIL


# --- configuration ---------------------------------------------------------------------------


def problems(**options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Flags(options, ["mail"]), {})
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "x", ":x", "x:", "a b:c", "a:b:c", ".x", "tests.support.functions:"]
)
def test_a_path_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        table_source(text)


def test_every_path_is_checked_and_all_is_told_at_once() -> None:
    told = problems(call="tests.support.functions:WRONG")
    for reason in (
        "missing: tests.support.functions has no no_such_function",
        "module: cannot import no.such.module: ModuleNotFoundError: No module named 'no'",
        "number: tests.support.functions.leaked is neither a function nor a SafeTask: it is a "
        "list",
        "class: tests.support.functions.Unpicklable is neither a function nor a SafeTask",
        "generator: tests.support.functions.generator is a generator",
        "path: 'nothing' is not a path",
    ):
        assert reason in told
    assert "fine:" not in told


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"call": "dispatch"}, "no section"),
        ({"call": "tests.support.functions:EMPTY"}, "empty"),
        ({"call": "tests.support.functions:leaked"}, "neither a function"),
        ({"call": "no_such_module:TABLE"}, "cannot import no_such_module"),
        ({"call": TABLE, "max_child_jobs": "0"}, "max-child-jobs"),
        ({"call": TABLE, "max_child_memory": "much"}, "such as 300M"),
        ({"call": TABLE, "max_child_memory": "0"}, "such as 300M"),
        ({"call": TABLE, "command": "true"}, "cannot have"),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, str], reason: str) -> None:
    assert reason in problems(**options)


def test_the_table_can_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.ini"
    file.write_text(
        "[tube:mail]\ncall = dispatch\nswallow = yes\nmax_child_jobs = 9\n"
        "max_child_memory = 1G\n"
        "[dispatch]\nsend = tests.support.functions.write\nlog = tests.support.functions:Logged\n"
    )
    (tube,) = load(Flags(config=str(file)), {}).tubes
    handler = tube.make_handler()
    assert isinstance(handler, FunctionHandler)
    assert list(handler.table.entries) == ["send", "log"]
    assert (handler.swallow, handler.max_child_jobs) == (True, 9)
    assert handler.max_child_memory == 1 << 30
    assert handler.describe() == "functions send, log"


def test_a_module_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_here.py").write_text("def f(): pass\n")
    (tmp_path / "exits_here.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    handler = FunctionHandler.from_options({"call": "found_here:f", "swallow": False})
    assert handler.describe() == "function found_here:f"
    with pytest.raises(TableError, match="cannot import exits_here: SystemExit: 0"):
        FunctionHandler.from_options({"call": "exits_here:f", "swallow": False})


def test_sizes() -> None:
    assert [parse_size(text) for text in ("1", "2K", "3m", "4G")] == [1, 2 << 10, 3 << 20, 4 << 30]
    for text in ("", "K", "-1", "1.5G", "1T", "1 K", "٣", "9" * 20):
        with pytest.raises(ValueError, match="300M"):
            parse_size(text)


def test_the_address_space_is_known() -> None:
    taken = address_space()
    assert taken is not None
    assert taken > 10 << 20
