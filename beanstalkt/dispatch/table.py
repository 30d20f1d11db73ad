"""The dispatch table: the names that may be called, and the function of each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .call import BadCall, Call
from .safetask import SafeTask

MAX_QUOTED = 300
"""Characters of a name or of another error that a message quotes."""


class TableError(ValueError):
    """Report that something is wrong with a table."""


class Unlocated(TableError):
    """Report a path at which nothing is found."""


class NotATask(TableError):
    """Report a path to something that cannot be run."""


class UnknownFunction(BadCall):
    """Report a name that is not in the table."""


class FunctionTask(SafeTask):
    """Make a task without hooks of a function."""

    def __init__(self, function: Callable[..., Any], timeout: timedelta | None) -> None:
        self.run = function  # type: ignore[method-assign]
        self.timeout_timedelta = timeout

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function that this task was made of."""
        raise NotImplementedError  # the function of each instance replaces this


@dataclass(frozen=True)
class TableEntry:
    """The function or SafeTask of one name.

    :ivar make: returns the task for one job
    :ivar signature: the signature of its ``run``; None: unknown
    :ivar asynchronous: whether ``run`` is a coroutine function
    :ivar timeout: seconds that the task may take by its own limit; None: it has none
    """

    name: str
    make: Callable[[], SafeTask]
    signature: inspect.Signature | None
    asynchronous: bool
    timeout: float | None

    def check(self, call: Call) -> None:
        """Raise BadCall unless the function takes the arguments of the call."""
        if self.signature is not None:
            try:
                self.signature.bind(*call.args, **call.kwargs)
            except TypeError as error:
                raise BadCall(f"{self.name}: {str(error)[:MAX_QUOTED]}") from None


class Table:
    """The names that may be called.

    :param only: the name of the only function, which a body need not give; else None
    """

    def __init__(self, entries: Mapping[str, TableEntry], only: str | None = None) -> None:
        self.entries = dict(entries)
        self.only = only

    @classmethod
    def load(cls, source: str | Mapping[str, object]) -> Table:
        """Import and check all functions of a table.

        :param source: a mapping from name to path (or to a function or SafeTask); or the path of
            such a mapping or of a single function, ``package.module:NAME``

        Raises TableError, whose message says everything that is wrong.
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
        entries: dict[str, TableEntry] = {}
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

    def find(self, call: Call) -> TableEntry:
        """Return the entry for a call. Raises BadCall, also for wrong arguments."""
        name = self.only if call.function is None else call.function
        if name is None:
            raise BadCall("function is missing")
        if name not in self.entries:
            raise UnknownFunction(f"there is no function {name[:MAX_QUOTED]!r} in the table")
        entry = self.entries[name]
        entry.check(call)
        return entry


def locate(path: str) -> object:
    """Return what is at ``package.module.name`` or ``package.module:name``. Raises Unlocated."""
    module_name, colon, attribute = path.strip().partition(":")
    if not colon:
        module_name, _, attribute = module_name.rpartition(".")
    if not module_name or not attribute:
        raise Unlocated(f"{path[:MAX_QUOTED]!r} is not a path such as package.module.function")
    try:
        found: object = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise  # it is the user's, who stops a slow import
    # A module that calls sys.exit() must not end the runner, nor must any error in it.
    except BaseException as error:
        raise Unlocated(f"cannot import {module_name}: {brief(error)}") from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Unlocated(f"{module_name} has no {attribute}") from None
    return found


def make_entry(name: str, target: object, timeout: timedelta | None = None) -> TableEntry:
    """Return the entry for a path, a function, or a SafeTask (class or instance).

    :param timeout: the limit of a function, which has none of its own

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
        raise NotATask(
            f"timeout_timedelta of {shown} must be a timedelta of more than 0, not {limit}"
        )
    run = task.run
    called = run if inspect.isroutine(run) else getattr(run, "__call__", run)  # noqa: B004
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise NotATask(f"{shown} is a generator: calling it would run nothing")
    return TableEntry(
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
        # Not the signature of a decorated function: a decorator may change the arguments.
        return inspect.signature(run, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C, without a signature
        return None


def _name(target: object) -> str:
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return f"{getattr(target, '__module__', type(target).__module__)}.{name}"


def brief(error: BaseException) -> str:
    """Return the type and the message of an exception in one line."""
    name = type(error).__qualname__
    try:
        lines = str(error).strip().splitlines()
    except BaseException:  # its own __str__ fails
        lines = []
    return f"{name}: {lines[0][:MAX_QUOTED]}" if lines else name
