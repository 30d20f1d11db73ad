"""Functions for the tests of the function handler. Children import this module."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from beanstalkt.dispatch import SafeTask, Stopped
from beanstalkt.worker import Reject, Retry


def write(path: str, text: str = "done\n") -> None:
    with Path(path).open("a") as file:
        file.write(text)


async def write_async(path: str, text: str = "done\n") -> None:
    await asyncio.sleep(0)
    write(path, text)


def pid(path: str) -> None:
    write(path, f"{os.getpid()}\n")


def takes(a: int, b: int = 2, *, c: int = 3) -> None:
    pass


def returns_what_cannot_be_pickled() -> Any:
    return threading.Lock(), lambda: None


class Unpicklable(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("of no pickle")

    def __reduce__(self) -> NoReturn:
        raise TypeError("never")


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


class Panic(BaseException):
    """Such as an extension in another language raises."""


class Hopeless(Panic):
    def __str__(self) -> str:
        raise Panic


class Wrong(Retry):
    """Without a delay that any server takes."""

    def __init__(self, delay: object) -> None:
        super().__init__()
        self.delay = delay  # type: ignore[assignment]


class OnlyInt:
    def __int__(self) -> int:
        return 30


class OnlyFloat:
    def __float__(self) -> float:
        return 30.0


class OnlyIndex:
    def __index__(self) -> int:
        return 30


class Broken:
    def __float__(self) -> float:
        raise RuntimeError("no number")


DELAYS: dict[str, Any] = {
    "int": 30,
    "float": 30.0,
    "decimal": Decimal(30),
    "fraction": Fraction(60, 2),
    "only int": OnlyInt(),
    "only float": OnlyFloat(),
    "only index": OnlyIndex(),
    "nan": math.nan,
    "inf": math.inf,
    "negative": -1,
    "2**32": 2**32,
    "10**400": 10**400,
    "decimal nan": Decimal("nan"),
    "decimal snan": Decimal("snan"),
    "decimal inf": Decimal("inf"),
    "str": "30",
    "bytes": b"30",
    "complex": 30j,
    "list": [30],
    "broken": Broken(),
}


def retries(delay: str) -> None:
    raise Retry(DELAYS[delay])


async def retries_async(delay: str) -> None:
    raise Retry(DELAYS[delay])


def retries_wrongly(delay: str) -> None:
    raise Wrong(DELAYS[delay])


async def retries_wrongly_async(delay: str) -> None:
    raise Wrong(DELAYS[delay])


def raises(kind: str) -> None:
    if kind == "value":
        raise ValueError("no such user")
    if kind == "unpicklable":
        raise Unpicklable(1, 2)
    if kind == "hostile":
        raise Hostile
    if kind == "long":
        raise ValueError("x" * 10_000_000)
    if kind == "surrogate":
        raise ValueError("\ud800")
    if kind == "exit":
        sys.exit(0)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "stop":
        raise StopIteration
    if kind == "retry":
        raise Retry(7) from OSError("away")
    if kind == "reject":
        raise Reject("never again")
    if kind == "timeout":
        raise TimeoutError("of a socket")
    if kind == "panic":
        raise Panic("at the disco")
    if kind == "hopeless":
        raise Hopeless
    if kind == "closed":
        raise GeneratorExit
    if kind == "stopped":
        raise Stopped
    if kind == "cancelled":
        raise asyncio.CancelledError
    if kind == "hopeless reject":
        raise Reject(Hopeless())  # type: ignore[arg-type]


async def raises_async(kind: str) -> None:
    raises(kind)


def ends(status: int) -> None:
    os._exit(status)


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def for_ever(path: str) -> None:
    write(path, f"{os.getpid()}\n")
    while True:
        pass


def ignores_term(path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    process = subprocess.Popen(["sleep", "100"])
    write(path, f"{os.getpid()} {process.pid}\n")
    while True:
        time.sleep(100)


def cleans_up(path: str) -> None:
    try:
        write(path, "began\n")
        time.sleep(100)
    finally:
        write(path, "cleaned up\n")


async def cleans_up_async(path: str) -> None:
    try:
        write(path, "began\n")
        await asyncio.sleep(100)
    finally:
        write(path, "cleaned up\n")


def eats(megabytes: int) -> None:
    eaten = []
    for _ in range(megabytes):
        eaten.append(bytearray(1 << 20))


leaked: list[bytearray] = []


def leaks(megabytes: int) -> None:
    leaked.append(bytearray(megabytes << 20))


def prints(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


def says(path: str) -> None:
    """Uses every stream that a program may expect."""
    prints("said")
    sys.stdout.flush()
    os.write(1, b"written\n")
    os.write(2, b"written\n")
    pid(path)


async def says_async(path: str) -> None:
    says(path)


async def complains_async() -> None:
    print("a complaint", file=sys.stderr)


async def floods(lines: int) -> None:
    """Logs that many lines of a kilobyte, on the loop of the runner."""
    for number in range(lines):
        logging.getLogger("flood").info("%d %s", number, "x" * 1000)


def prints_and_dies(text: str) -> None:
    print(text)
    os._exit(1)


def forks() -> None:
    if os.fork() == 0:
        return  # and so comes back into the child's own program
    os.wait()


def forks_and_raises() -> None:
    if os.fork() == 0:
        raise ValueError("in the copy")
    os.wait()


def leaves_a_process(path: str) -> None:
    write(path, f"{subprocess.Popen(['sleep', '100']).pid}\n")


def closes_stdin() -> None:
    os.close(0)


def closes_everything() -> None:
    os.closerange(0, 1000)


def _channel() -> int:
    """The socket to the runner."""
    links = {fd: f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
    sockets = [fd for fd in links if os.path.exists(links[fd]) and Path(links[fd]).is_socket()]
    return max(map(int, sockets))


def closes_the_channel() -> None:
    os.close(_channel())


def writes_to_the_channel(text: str) -> None:
    os.write(_channel(), struct.pack("!Q", len(text)) + text.encode())
    time.sleep(100)


def rejects_without_end() -> NoReturn:
    """With an outcome of which no JSON can be made."""
    from beanstalkt.worker.handlers.function import child_program
    from beanstalkt.worker.policy import outcome

    def outcome_of(_: object) -> outcome.Outcome:
        vars(child_program)["outcome_of_task"] = original
        return outcome.Outcome(outcome.Kind.RETRY, details={"lock": threading.Lock()})

    names = vars(child_program)
    original, names["outcome_of_task"] = names["outcome_of_task"], outcome_of
    raise Reject


def sets_an_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.3)


def tells(path: str) -> None:
    """What a child is."""
    fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    links = [f"/proc/self/fd/{fd}" for fd in fds[3:]]
    # One of them was open for listing them only.
    kinds = sorted(os.readlink(link).split(":")[0] for link in links if os.path.lexists(link))
    leads = os.getsid(0) == os.getpgid(0) == os.getpid()
    ignored = int(status["SigIgn"], 16) & ~(1 << (signal.SIGPIPE - 1)) & ~(1 << 24)  # SIGXFSZ
    ignored &= ~(3 << 31)  # 32 and 33 are the C library's: no program can set them
    settings = sorted(key for key in os.environ if key.startswith(("BEANSTALKT_", "NOTIFY_")))
    write(path, f"{leads} {kinds} {ignored} {settings}\n")


def generator() -> Any:
    yield 1


class Logged(SafeTask):
    """Writes down what is called."""

    def run(self, path: str, how: str = "") -> None:
        write(path, "run\n")
        if how == "raise":
            raise ValueError("no")
        if how == "sleep":
            time.sleep(100)

    def on_error(self, exception: BaseException, path: str, how: str = "") -> None:
        write(path, f"error {type(exception).__name__}\n")

    def on_success(self, path: str, how: str = "") -> None:
        write(path, "success\n")
        if how == "hook":
            raise ValueError("in a hook")

    def on_completion(self, path: str, how: str = "") -> None:
        write(path, "completion\n")


class Quick(Logged):
    timeout_timedelta = timedelta(seconds=0.2)


class Deaf(Logged):
    timeout_timedelta = timedelta(seconds=0.2)

    def run(self, path: str, how: str = "") -> None:
        while True:
            try:
                time.sleep(100)
            except Exception:
                write(path, "deaf\n")


class LoggedAsync(Logged):
    async def run(self, path: str, how: str = "") -> None:  # type: ignore[override]
        write(path, "run\n")
        if how == "raise":
            raise ValueError("no")
        if how == "sleep":
            await asyncio.sleep(100)

    async def on_success(  # type: ignore[override]
        self, path: str, how: str = ""
    ) -> None:
        await asyncio.sleep(0)
        super().on_success(path, how)


class QuickAsync(LoggedAsync):
    timeout_timedelta = timedelta(seconds=0.2)


class AsyncHooks(Logged):
    async def on_completion(  # type: ignore[override]
        self, path: str, how: str = ""
    ) -> None:
        await asyncio.sleep(0)
        write(path, "completion\n")


_HERE = __name__

TABLE: dict[str, object] = {
    name: f"{_HERE}.{name}"
    for name, value in list(globals().items())
    if getattr(value, "__module__", "") == _HERE
    and (not isinstance(value, type) or issubclass(value, SafeTask))
    and name != "generator"
}
TABLE["direct"] = write

EMPTY: dict[str, str] = {}

WRONG = {
    "fine": f"{_HERE}.write",
    "missing": f"{_HERE}.no_such_function",
    "module": "no.such.module.function",
    "number": f"{_HERE}.leaked",
    "class": f"{_HERE}.Unpicklable",
    "generator": f"{_HERE}.generator",
    "path": "nothing",
}
