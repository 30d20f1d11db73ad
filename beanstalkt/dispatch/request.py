"""A web request that says which function to call, and the reasons to refuse it."""

from __future__ import annotations

from collections.abc import Mapping

from .call import BadCall, Call, decode
from .safetask import SafeTask
from .table import NotATask, TableEntry, Unlocated, make_entry

NO_TABLE = "no table configured"
MISSING_ARGUMENT = "missing argument"
NOT_FOUND = "function not found"
UNLOCATED = "unable to locate"
NOT_A_TASK = "not a SafeTask"


class Refused(Exception):
    """A request that can never succeed.

    :ivar message: one of the five of this module
    :ivar error: what is wrong, in words
    """

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message, error)
        self.message = message
        self.error = error


def find(table: Mapping[str, object] | None, body: bytes) -> tuple[TableEntry, Call]:
    """Look up the function that a request's body says; a plain one may take 2 minutes.

    Raises Refused.
    """
    if not table:
        raise Refused(NO_TABLE, "the application has no dispatch table")
    try:
        call = decode(body)
        if call.function is None:
            raise BadCall("function is missing")
        name = call.function
        if name not in table:
            raise Refused(NOT_FOUND, f"there is no function {name[:200]!r} in the table")
        entry = make_entry(name, table[name], SafeTask.timeout_timedelta)
        entry.check(call)
    except Unlocated as error:
        raise Refused(UNLOCATED, str(error)) from error
    except NotATask as error:
        raise Refused(NOT_A_TASK, str(error)) from error
    except BadCall as error:
        raise Refused(MISSING_ARGUMENT, str(error)) from error
    return entry, call
