"""Scheduling functions, tables of them, tasks, and the web handler that runs them."""

from __future__ import annotations

import asyncio
import base64
import collections
import decimal
import enum
import functools
import json
import math
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from beanstalkt import DEFAULT_PRIORITY, Client, InvalidArgument, JobTooBig
from beanstalkt.dispatch import (
    DispatcherHandler,
    SafeTask,
    Scheduled,
    Stopped,
    TaskTimeout,
    schedule_function,
)
from beanstalkt.dispatch.call import BadCall, Call, decode, encode
from beanstalkt.dispatch.perform import perform, perform_async
from beanstalkt.dispatch.table import NotATask, Table, TableError, Unlocated, locate, make_entry

from ..support.beanstalkd import Beanstalkd
from ..support.webserver import listening

# --- bodies ----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.text(min_size=1), st.lists(JSON), st.dictionaries(st.text(), JSON))
def test_what_was_sent_is_what_arrives(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    body = encode(name, args, kwargs)
    assert json.loads(body) == {"function": name, "args": args, "kwargs": kwargs}
    for data in (body, b" \n" + body, base64.b64encode(body), base64.encodebytes(body)):
        assert decode(data) == Call(name, args, kwargs)


@given(st.binary())
def test_whatever_a_body_is_it_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        decode(body)


@given(JSON)
def test_json_that_is_no_object_is_refused(value: Any) -> None:
    assume(not isinstance(value, dict))
    with pytest.raises(BadCall):
        decode(json.dumps(value).encode())


@given(st.sampled_from(["function", "args", "kwargs"]), JSON)
def test_a_part_of_the_wrong_type_is_refused(part: str, value: Any) -> None:
    kind = {"function": str, "args": list, "kwargs": dict}[part]
    assume(not isinstance(value, kind))
    with pytest.raises(BadCall, match=part):
        decode(json.dumps({part: value}).encode())


@pytest.mark.parametrize("args", [[], [1]])
@pytest.mark.parametrize("kwargs", [{}, {"a": 1}])
def test_a_call_without_args_or_kwargs_has_none(args: list[int], kwargs: dict[str, int]) -> None:
    parts: dict[str, object] = {"args": args, "kwargs": kwargs}
    said = {name: part for name, part in parts.items() if part}
    body = json.dumps({"function": "x", **said}).encode()
    assert decode(body) == Call("x", args, kwargs)


class Itself(list[Any]):
    def __init__(self) -> None:
        self.append(self)


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


NOT_JSON = [
    (math.nan, "nan"),
    (math.inf, "inf"),
    (-math.inf, "-inf"),
    ([{"a": math.nan}], "nan"),
    (b"bytes", "bytes"),
    (bytearray(b"x"), "bytearray"),
    ({1, 2}, "set"),
    ((1, 2), "a list"),
    ([(1, 2)], "a list"),
    ({1: "x"}, "key"),
    ({None: "x"}, "key"),
    ({(1, 2): "x"}, "key"),
    (object(), "object"),
    (decimal.Decimal(1), "Decimal"),
    (timedelta(1), "timedelta"),
    (1j, "complex"),
    (print, "builtin"),
    (Itself(), "holds itself"),
    (deep(100_000), "nested"),
    (10**5000, "digits"),
]


@pytest.mark.parametrize(("value", "reason"), NOT_JSON, ids=range(len(NOT_JSON)))
async def test_what_is_not_json_is_refused_before_anything_is_sent(
    value: Any, reason: str
) -> None:
    client = Client()
    with pytest.raises(InvalidArgument, match=reason) as first:
        schedule_function(client, "mail", "send", 1, value)
    assert "send" in str(first.value)
    with pytest.raises(InvalidArgument, match=reason):
        schedule_function(client, "mail", "send", to=value)
    # Nothing is lost by what is refused here: an int this long cannot be written.
    if reason != "digits":
        assert "args[1]" in str(first.value)


class Colour(enum.IntEnum):
    RED = 3


def test_what_json_can_say_is_taken() -> None:
    values = [collections.OrderedDict(a=1), collections.defaultdict(list, b=[2]), Colour.RED]
    assert decode(encode("f", values, {})).args == [{"a": 1}, {"b": [2]}, 3]


@pytest.mark.parametrize("name", ["", None, 1, b"send", ["send"]])
async def test_a_name_is_a_str(name: Any) -> None:
    with pytest.raises(InvalidArgument, match="must be a str"):
        schedule_function(Client(), "mail", name)


# --- scheduling ------------------------------------------------------------------------------


async def test_the_job_is_put_and_its_id_given(beanstalkd: Beanstalkd) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        # No keyword of the function's clashes with one of ours.
        job_id = await schedule_function(
            client, "mail", "send", "ada", client=1, tube=2, name=3, priority=4, delay=5, ttr=6
        )
        job = await client.peek(job_id)
        assert json.loads(job.body) == {
            "function": "send",
            "args": ["ada"],
            "kwargs": {"client": 1, "tube": 2, "name": 3, "priority": 4, "delay": 5, "ttr": 6},
        }
        stats = await client.stats_job(job_id)
        assert (stats["tube"], stats["pri"], stats["ttr"]) == ("mail", DEFAULT_PRIORITY, 120)
        assert client.using == "default"


async def test_how_it_is_put_goes_with_the_name(beanstalkd: Beanstalkd) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        later = Scheduled("send", priority=7, delay=60, ttr=9)
        stats = await client.stats_job(await schedule_function(client, "mail", later, delay=1))
        assert (stats["pri"], stats["delay"], stats["ttr"]) == (7, 60, 9)
        assert stats["state"] == "delayed"


async def test_what_the_client_raises_comes_through(beanstalkd: Beanstalkd) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        with pytest.raises(InvalidArgument):
            schedule_function(client, "-no tube", "send")
        with pytest.raises(InvalidArgument):
            schedule_function(client, "mail", Scheduled("send", delay=-1))
        with pytest.raises(JobTooBig):
            await schedule_function(client, "mail", "send", "x" * 70_000)


# --- tables ----------------------------------------------------------------------------------


class Task(SafeTask):
    def run(self, x: int) -> None:
        pass


class NeedsMore(Task):
    def __init__(self, more: int) -> None:
        self.more = more


class NoRun(SafeTask):
    pass


class NoLimit(Task):
    timeout_timedelta = timedelta(0)


class WrongLimit(Task):
    timeout_timedelta = 5  # type: ignore[assignment]


class Callable:
    async def __call__(self, x: int) -> None:
        pass

    def method(self) -> None:
        pass


async def coroutine(x: int) -> None:
    pass


def injecting(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function("injected", *args)

    return wrapper


@injecting
def decorated(injected: str, x: int) -> None:
    pass


@pytest.mark.parametrize(
    ("target", "asynchronous", "timeout"),
    [
        (Task, False, 120),
        (Task(), False, 120),
        (f"{__name__}.Task", False, 120),
        (f"{__name__}:Task", False, 120),
        (f"{__name__}:Callable.method", False, None),
        (coroutine, True, None),
        (functools.partial(coroutine, 1), True, None),
        (Callable(), True, None),
        (Callable().method, False, None),
        (print, False, None),
        ("os.path.join", False, None),
        (lambda: None, False, None),
    ],
)
def test_what_may_stand_in_a_table(target: Any, asynchronous: bool, timeout: float | None) -> None:
    entry = Table.load({"name": target}).entries["name"]
    assert (entry.asynchronous, entry.timeout) == (asynchronous, timeout)
    assert isinstance(entry.make(), SafeTask)


def test_each_job_has_a_task_of_its_own() -> None:
    make = make_entry("x", Task).make
    assert make() is not make()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (NeedsMore, "missing 1 required"),
        (NoRun, "abstract"),
        (NoLimit, "more than 0"),
        (WrongLimit, "a timedelta of more than 0"),
        (dict, "another class"),
        (7, "it is a int"),
        (None, "it is a NoneType"),
        (math, "it is a module"),
    ],
)
def test_what_may_not(target: Any, reason: str) -> None:
    with pytest.raises(NotATask, match=reason):
        make_entry("x", target)


@pytest.mark.parametrize(
    "path", ["", ".", "x", "x.", ".x", ":", "os:", ":x", "os.no", "no.such.x", "os:path.no", "a b"]
)
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(Unlocated):
        locate(path)


def test_a_name_must_be_a_str() -> None:
    with pytest.raises(TableError, match="must be a str"):
        Table.load({1: print})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("target", "args", "fits"),
    [
        (Task, [1], True),
        (Task, [], False),
        (coroutine, [1, 2], False),
        # What its decorator gives it is nothing that the job has to.
        (decorated, [1], True),
        # It tells nothing of what it takes.
        (max, [], True),
    ],
)
def test_arguments_are_checked(target: Any, args: list[Any], fits: bool) -> None:
    table = Table.load({"name": target})
    if fits:
        table.find(Call("name", args, {}))
    else:
        with pytest.raises(BadCall, match="name: "):
            table.find(Call("name", args, {}))


# --- tasks -----------------------------------------------------------------------------------


class Noted(SafeTask):
    def __init__(self, **raising: BaseException) -> None:
        self.raising = raising
        self.calls: list[tuple[Any, ...]] = []

    def note(self, name: str, *args: Any) -> None:
        self.calls.append((name, *args))
        if name in self.raising:
            raise self.raising[name]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.note("run", args, kwargs)

    def on_error(self, exception: BaseException, *args: Any, **kwargs: Any) -> Any:
        self.note("on_error", exception, args, kwargs)

    def on_success(self, *args: Any, **kwargs: Any) -> Any:
        self.note("on_success", args, kwargs)

    def on_completion(self, *args: Any, **kwargs: Any) -> Any:
        self.note("on_completion", args, kwargs)


class NotedAsync(Noted):
    async def run(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.note("run", args, kwargs)

    async def on_completion(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.note("on_completion", args, kwargs)


class Panic(BaseException):
    pass


ERRORS = [ValueError("no"), StopIteration(), SystemExit(0), asyncio.CancelledError()]
ERRORS += [Panic(), KeyboardInterrupt(), GeneratorExit(), Stopped()]


@pytest.mark.parametrize("kind", ["here", "loop", "thread"])
@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
@pytest.mark.parametrize("where", ["", "run", "on_error", "on_success", "on_completion"])
async def test_hooks_are_called_in_order_and_count(
    kind: str, error: BaseException, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "loop" and isinstance(error, StopIteration):
        pytest.skip("a coroutine cannot raise it")
    raising = {where: error} if where else {}
    if where == "on_error":
        raising["run"] = first = KeyError("first")
    task = (NotedAsync if kind == "loop" else Noted)(**raising)
    if kind == "here":
        failure = perform(task, [1], {"a": 2})
    else:
        failure = await perform_async(task, [1], {"a": 2}, kind == "thread")
    failed = where in ("run", "on_error")
    names = ["run", "on_error" if failed else "on_success", "on_completion"]
    assert [name for name, *_ in task.calls] == names
    assert all(call[-2:] == ((1,), {"a": 2}) for call in task.calls)
    if failed:
        assert task.calls[1][1] is failure
    expected = first if where == "on_error" else error if where else None
    # Python 3.10 makes another CancelledError of one that passes a task.
    assert failure is expected or type(failure) is type(expected) is asyncio.CancelledError
    assert ("has failed" in caplog.text) == where.startswith("on_")


async def test_verbose_logs_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    task = Noted(run=ValueError("the reason"))
    perform(task, [], {})
    assert not caplog.text
    task.verbose = True
    perform(task, [], {})
    assert "Noted has failed" in caplog.text
    assert "the reason" in caplog.text


class Slow(Noted):
    timeout_timedelta = timedelta(seconds=0.1)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(1)


class SlowAsync(Noted):
    timeout_timedelta = timedelta(seconds=0.1)

    async def run(self, *args: Any, **kwargs: Any) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            self.note("cleaned up")


@pytest.mark.parametrize("kind", ["here", "loop", "thread"])
async def test_the_limit_holds(kind: str) -> None:
    task = (SlowAsync if kind == "loop" else Slow)()
    if kind == "here":
        failure = perform(task, [], {})
    else:
        failure = await perform_async(task, [], {}, kind == "thread")
    assert isinstance(failure, TaskTimeout)
    names = ["on_error", "on_completion"]
    assert [name for name, *_ in task.calls if name != "cleaned up"] == names
    assert (("cleaned up",) in task.calls) == (kind == "loop")


async def test_cancelling_reaches_the_function_and_the_hooks() -> None:
    task = SlowAsync()
    task.timeout_timedelta = timedelta(seconds=100)
    running = asyncio.ensure_future(perform_async(task, [], {}))
    await asyncio.sleep(0.05)
    running.cancel()
    assert isinstance(await running, asyncio.CancelledError)
    assert [name for name, *_ in task.calls] == ["cleaned up", "on_error", "on_completion"]


# --- the web handler -------------------------------------------------------------------------

threads: list[threading.Thread] = []


def plain(x: int, *, fail: bool = False) -> None:
    threads.append(threading.current_thread())
    if fail:
        raise ValueError("no such user")


async def on_loop(x: int) -> None:
    threads.append(threading.current_thread())


WEB: dict[str, Any] = {
    "plain": f"{__name__}.plain",
    "on_loop": on_loop,
    "Slow": f"{__name__}.Slow",
    "SlowAsync": f"{__name__}.SlowAsync",
    "lost": "no.such.function",
    "number": f"{__name__}.DEFAULT_PRIORITY",
    "class": f"{__name__}.Callable",
}

URL = "/beanstalk_dispatch/dispatcher"


@asynccontextmanager
async def web(table: Any = WEB, **settings: Any) -> AsyncIterator[str]:
    def quiet(_: RequestHandler) -> None:
        pass

    arguments = {"table": table} if table is not None else {}
    application = Application(
        [(URL, DispatcherHandler, arguments)], log_function=quiet, **settings
    )
    server = HTTPServer(application)
    sock = listening()
    server.add_socket(sock)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}{URL}"
    finally:
        server.stop()
        await server.close_all_connections()


async def post(url: str, body: bytes) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(url, method="POST", body=body, raise_error=False)


@pytest.mark.parametrize(("name", "on_main"), [("plain", False), ("on_loop", True)])
async def test_success_is_200(name: str, on_main: bool) -> None:
    threads.clear()
    async with web(xsrf_cookies=True) as url:
        for body in (encode(name, [1], {}), base64.b64encode(encode(name, [], {"x": 1}))):
            response = await post(url, body)
            assert (response.code, json.loads(response.body)) == (200, {})
    assert [thread is threading.main_thread() for thread in threads] == [on_main] * 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (encode("plain", [1], {"fail": True}), "ValueError: no such user"),
        (encode("Slow", [], {}), "TaskTimeout: it took more than 0.1 s"),
        (encode("SlowAsync", [], {}), "TaskTimeout: it took more than 0.1 s"),
    ],
)
async def test_failure_is_500(body: bytes, error: str) -> None:
    async with web() as url:
        response = await post(url, body)
    assert response.code == 500
    assert json.loads(response.body) == {"message": "the task failed", "error": error}


EVERY = {
    kind.__name__: kind
    for kind in (Panic, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
}


def raising(kind: str) -> None:
    raise EVERY[kind]


async def raising_async(kind: str) -> None:
    await asyncio.sleep(0)
    raise EVERY[kind]


class NoTask(SafeTask):
    made = 0

    def __init__(self) -> None:
        NoTask.made += 1
        if NoTask.made % 2 == 0:
            raise Panic

    def run(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("name", ["raising", "raising_async", "unlimited"])
async def test_whatever_is_raised_the_answer_is_500(name: str, kind: str) -> None:
    table = {"raising": raising, "raising_async": raising_async, "unlimited": Unlimited}
    async with web(table) as url:
        response = await post(url, encode(name, [kind], {}))
        assert (response.code, json.loads(response.body)["error"]) == (500, kind)


class Unlimited(SafeTask):
    timeout_timedelta = None

    async def run(self, kind: str) -> None:
        await raising_async(kind)


async def test_a_task_that_cannot_be_made_is_500() -> None:
    async with web({"task": NoTask}) as url:
        response = await post(url, encode("task", [], {}))
    assert (response.code, json.loads(response.body)["error"]) == (500, "Panic")


BAD = [
    (b"", "missing argument", "JSON"),
    (b"{", "missing argument", "JSON"),
    (b"hello", "missing argument", "base64"),
    (b'{"args": [], "kwargs": {}}', "missing argument", "function is missing"),
    (encode("plain", [], {}), "missing argument", "plain: missing a required argument: 'x'"),
    (encode("plain", [1, 2], {}), "missing argument", "plain: too many"),
    (encode("os.system", ["true"], {}), "function not found", "'os.system'"),
    (encode("lost", [], {}), "unable to locate", "no.such"),
    (encode("number", [], {}), "not a SafeTask", "it is a int"),
    (encode("class", [], {}), "not a SafeTask", "another class"),
]


@pytest.mark.parametrize(("body", "message", "error"), BAD, ids=range(len(BAD)))
async def test_a_bad_request_is_400(body: bytes, message: str, error: str) -> None:
    async with web() as url:
        response = await post(url, body)
    assert response.code == 400
    said = json.loads(response.body)
    assert said.keys() == {"message", "error"}
    assert said["message"] == message
    assert error in said["error"]


@pytest.mark.parametrize("table", [None, {}])
async def test_without_a_table_all_is_400(table: Any) -> None:
    async with web(table) as url:
        response = await post(url, encode("plain", [1], {}))
    assert (response.code, json.loads(response.body)["message"]) == (400, "no table configured")


async def test_the_table_can_be_a_setting() -> None:
    async with web(None, dispatch_table=WEB) as url:
        assert (await post(url, encode("plain", [1], {}))).code == 200


async def test_get_is_405() -> None:
    async with web() as url:
        assert (await AsyncHTTPClient().fetch(url, raise_error=False)).code == 405


def test_the_module_has_nothing_else() -> None:
    import beanstalkt.dispatch as module

    with pytest.raises(AttributeError, match="Dispatcher"):
        _ = module.Dispatcher  # type: ignore[attr-defined]
