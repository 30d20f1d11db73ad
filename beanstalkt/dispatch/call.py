"""A function call as the body of a job: ``{"function": ..., "args": [...], "kwargs": {...}}``."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import InvalidArgument


class BadCall(ValueError):
    """Report a body that is no call of a function in the table; the message says why."""


@dataclass(frozen=True)
class Call:
    """A call: the name of a function, and its arguments.

    :ivar function: its name in the dispatch table; None: the body names no function
    """

    function: str | None
    args: list[Any]
    kwargs: dict[str, Any]


# --- writing ---------------------------------------------------------------------------------


def encode(function: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Return the body of a job that calls a function.

    Arguments may be None, bool, int, finite float, str, list, and dict with keys that are str.
    Raises InvalidArgument for all others, because the function would get something else.
    """
    if not isinstance(function, str) or not function:
        raise InvalidArgument(f"the name of a function must be a str, not {function!r}")
    arguments = {f"args[{index}]": value for index, value in enumerate(args)}
    arguments.update(kwargs)
    for place, value in arguments.items():
        try:
            _check(value)
        except _NotJSON as error:
            raise InvalidArgument(f"{function}: {place}: {error}") from None
        except RecursionError:
            raise InvalidArgument(
                f"{function}: {place}: it holds itself, or is nested too deeply for JSON"
            ) from None
    call = {"function": function, "args": list(args), "kwargs": dict(kwargs)}
    try:
        return json.dumps(call, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:  # an int of more digits than Python writes
        raise InvalidArgument(f"{function}: {error}") from None


class _NotJSON(Exception):
    pass


def _check(value: object) -> None:
    # json.dumps would turn a tuple into a list, the key 1 into "1", and NaN into text that few
    # other languages can read.
    if value is None or isinstance(value, str | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotJSON(f"{value} is not JSON")
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _NotJSON(f"a key must be a str in JSON, not {_kind(key)}")
            _check(item)
    else:
        hint = ": it would arrive as a list" if isinstance(value, tuple) else ""
        raise _NotJSON(f"{_kind(value)} is not JSON{hint}")


def _kind(value: object) -> str:
    return type(value).__qualname__


# --- reading ---------------------------------------------------------------------------------


def decode(body: bytes) -> Call:
    """Return the call that a body describes, plain or in base64. Raises BadCall."""
    try:
        call = json.loads(_text(body), parse_constant=_refuse)
    except BadCall:
        raise
    except RecursionError:
        raise BadCall("the body is nested too deeply") from None
    except ValueError as error:
        raise BadCall(f"the body is not JSON: {error}") from None
    if not isinstance(call, dict):
        raise BadCall("the body is not a JSON object")
    function = call.get("function")
    if "function" in call and not isinstance(function, str):
        raise BadCall("function must be a string")
    args = _part(call, "args", [], "an array")
    kwargs = _part(call, "kwargs", {}, "an object")
    return Call(function, args, kwargs)


def _text(body: bytes) -> str:
    text = body.strip()
    # No base64 begins with a brace.
    if not text.startswith(b"{"):
        try:
            text = base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            raise BadCall("the body is neither a JSON object nor base64 of one") from None
    return text.decode()  # a UnicodeDecodeError is a ValueError


def _refuse(constant: str) -> NoReturn:
    raise BadCall(f"{constant} is not JSON")


def _part(call: dict[str, Any], key: str, default: list[Any] | dict[str, Any], name: str) -> Any:
    """Return a part of the call; a call without it is one without such arguments."""
    part = call.get(key, default)
    if not isinstance(part, type(default)):
        raise BadCall(f"{key} must be {name}")
    return part
