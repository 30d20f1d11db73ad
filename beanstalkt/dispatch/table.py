"""The dispatch table: which names may be called, and what stands behind each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .call import BadCall, Call
from .safetask import SafeTask

SHOWN = 300
"""Characters of an error of somebody else's that stand in one of ours."""


class TableError(ValueError):
    """Something is wrong with a table."""


class Unlocated(TableError):
    """A path that leads nowhere."""


class NotATask(TableError):
    """A path that leads to something that cannot be run."""


class UnknownFunction(BadCall):
    """A name that is not in the table."""


class FunctionTask(SafeTask):
    """A function as a task without hooks."""

    def __init__(self, function: Callable[..., Any], timeout: timedelta | None) -> None:
        self.run = function  # type: ignore[method-assign]
        self.timeout_timedelta = timeout

    def run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError  # each instance has its function in this place


@dataclass(frozen=True)
class Entry:
    """What stands behind one name.

    :ivar make: gives the task for one job
    :ivar signature: of its ``run``; None: it tells none
    :ivar asynchronous: ``run`` is a coroutine function
    :ivar timeout: seconds that it allows itself; None: no limit of its own
    """

    name: str
    make: Callable[[], SafeTask]
    signature: inspect.Signature | None
    asynchronous: bool
    timeout: float | None

    def check(self, call: Call) -> None:
        """Raise BadCall if it does not take these arguments."""
        if self.signature is not None:
            try:
                self.signature.bind(*call.args, **call.kwargs)
            except TypeError as error:
                raise BadCall(f"{self.name}: {str(error)[:SHOWN]}") from None


class Table:
    """All the names, each with what stands behind it.

    :param only: the name that a body need not say, because there is no other
    """

    def __init__(self, entries: Mapping[str, Entry], only: str | None = None) -> None:
        self.entries = dict(entries)
        self.only = only

    @classmethod
    def load(cls, source: str | Mapping[str, object]) -> Table:
        """Import and check everything.

        :param source: a mapping from name to path (or to a function or SafeTask); or the path of
            such a mapping or of a single function, ``package.module:NAME``

        Raises TableError, which tells everything that is wrong at once.
        """
        if not isinstance(source, str):
            return cls._of(source)
        found = locate(source)
        if isinstance(found, Mapping):
            return cls._of(found)
        name = source.rpartition(":")[2].rpartition(".")[2]
        return cls({name: make_entry(name, found)}, name)

    @classmethod
    def _of(cls, targets: Mapping[Any, object]) -> Table:
        entries: dict[str, Entry] = {}
        problems: list[str] = []
        for name, target in targets.items():
            try:
                if not isinstance(name, str):
                    raise TableError("a name must be a str")
                entries[name] = make_entry(name, target)
            except TableError as error:
                problems.append(f"{name}: {error}")
        if not targets:
            problems.append("the dispatch table is empty")
        if problems:
            raise TableError("; ".join(problems))
        return cls(entries)

    def find(self, call: Call) -> Entry:
        """What the call wants to be called. Raises BadCall, also for wrong arguments."""
        name = self.only if call.function is None else call.function
        if name is None:
            raise BadCall("function is missing")
        if name not in self.entries:
            raise UnknownFunction(f"there is no function {name[:SHOWN]!r} in the table")
        entry = self.entries[name]
        entry.check(call)
        return entry


def locate(path: str) -> object:
    """What stands at ``package.module.name`` or ``package.module:name``. Raises Unlocated."""
    module_name, colon, attribute = path.strip().partition(":")
    if not colon:
        module_name, _, attribute = module_name.rpartition(".")
    if not module_name or not attribute:
        raise Unlocated(f"{path[:SHOWN]!r} is no path such as package.module.function")
    try:
        found: object = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise  # importing takes a while, and somebody may have lost patience
    # A module that calls sys.exit() must not take the runner with it, nor must any error in it.
    except BaseException as error:
        raise Unlocated(f"cannot import {module_name}: {brief(error)}") from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Unlocated(f"{module_name} has no {attribute}") from None
    return found


def make_entry(name: str, target: object, timeout: timedelta | None = None) -> Entry:
    """The entry for a path, a function, or a SafeTask (class or instance).

    :param timeout: for a function, which has none of its own

    Raises Unlocated, NotATask.
    """
    shown = target if isinstance(target, str) else _name(target)
    if isinstance(target, str):
        target = locate(target)
    make = _maker(shown, target, timeout)
    try:
        task = make()
    except BaseException as error:
        raise NotATask(f"cannot make a {shown}: {brief(error)}") from error
    limit = task.timeout_timedelta
    if limit is not None and not (isinstance(limit, timedelta) and limit > timedelta(0)):
        raise NotATask(f"timeout_timedelta of {shown} is no timedelta of more than 0, but {limit}")
    run = task.run
    called = run if inspect.isroutine(run) else getattr(run, "__call__", run)  # noqa: B004
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise NotATask(f"{shown} is a generator: calling it would run nothing")
    return Entry(
        name,
        make,
        _signature(run),
        inspect.iscoroutinefunction(run) or inspect.iscoroutinefunction(called),
        None if limit is None else limit.total_seconds(),
    )


def _maker(shown: str, target: Any, timeout: timedelta | None) -> Callable[[], SafeTask]:
    if isinstance(target, SafeTask):
        return lambda: target
    if isinstance(target, type):
        if issubclass(target, SafeTask):
            return target
        raise NotATask(f"{shown} is neither a function nor a SafeTask, but another class")
    if callable(target):
        return lambda: FunctionTask(target, timeout)
    raise NotATask(
        f"{shown} is neither a function nor a SafeTask: it is a {type(target).__name__}"
    )


def _signature(run: Callable[..., Any]) -> inspect.Signature | None:
    try:
        # Not that of a decorated function inside: a decorator may add arguments or take some.
        return inspect.signature(run, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C, and it tells nothing
        return None


def _name(target: object) -> str:
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return f"{getattr(target, '__module__', type(target).__module__)}.{name}"


def brief(error: BaseException) -> str:
    """An exception in one line."""
    name = type(error).__qualname__
    try:
        lines = str(error).strip().splitlines()
    except BaseException:  # of an exception of the user's, whose own __str__ fails
        lines = []
    return f"{name}: {lines[0][:SHOWN]}" if lines else name
