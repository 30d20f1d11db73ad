"""A job on its way to another tube, server or file, and the JSON line that stands for it.

A line is an object such as ``{"id": 7, "tube": "mail", "state": "ready", "priority": 2147483648,
"delay": 0, "ttr": 120, "body": "text"}``. A body that is not UTF-8 is in base64, with
``"encoding": "base64"``. The delay is what was left of it, in seconds. The id is that of the job
which was exported, and is not read again. Where there are several servers, ``"server": "a"`` tells
which one had the job. All but ASCII is escaped, so that no line controls a
terminal.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, cast

from ..errors import InvalidArgument
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..protocol.arguments import DELAY, PRIORITY, SIZE, TTR, TUBE, Number
from .record import STATES, JobRecord, State

_FIELDS = frozenset(
    {"id", "server", "tube", "state", "priority", "delay", "ttr", "body", "encoding"}
)


@dataclass(slots=True)
class PortableJob:
    """Hold what a job is put with somewhere else, and the state that it had.

    A job that was reserved has its worker where it was, so it is ready elsewhere.
    """

    tube: str
    state: State
    #: 0 is the most urgent
    priority: int
    #: seconds until it is ready; 0 in every state but delayed
    delay: int
    #: how many seconds a worker may hold it
    ttr: int
    body: bytes
    #: the name of the server that had it; None if that is not told
    server: str | None = None


def portable(record: JobRecord, body: bytes, tube: str | None = None) -> PortableJob:
    """Return what the job of a record is put with somewhere else.

    :param tube: the tube that it goes to; None: one of the same name
    """
    delay = delay_left(record)
    return PortableJob(tube or record.tube, record.state, record.priority, delay, record.ttr, body)


def delay_left(record: JobRecord) -> int:
    """Return the seconds until a delayed job is ready, and 0 for any other job."""
    # Time left is rounded down, but a job that is delayed still must not become ready here.
    return max(1, record.time_left) if record.state == "delayed" else 0


def encode(record: JobRecord) -> bytes:
    """Return the JSON line of a record that has a body."""
    try:
        text, encoding = (record.body or b"").decode(), ""
    except UnicodeDecodeError:
        text = base64.b64encode(record.body or b"").decode()
        encoding = ', "encoding": "base64"'
    # This is some times faster than json.dumps.
    tube, state = encode_basestring_ascii(record.tube), encode_basestring_ascii(record.state)
    server = ""
    if record.server is not None:
        server = f'"server": {encode_basestring_ascii(record.server)}, '
    return (
        f'{{"id": {record.id}, {server}"tube": {tube}, "state": {state}, '
        f'"priority": {record.priority}, "delay": {delay_left(record)}, "ttr": {record.ttr}, '
        f'"body": {encode_basestring_ascii(text)}{encoding}}}\n'
    ).encode("ascii")


def decode(line: bytes | str, tube: str | None = None) -> PortableJob:
    """Return the job that a line stands for.

    :param tube: the tube to use; None: the one that the line names

    All fields but the body may be missing, and the tube if `tube` is given; a job is put with
    the usual defaults then. Raises InvalidArgument, which names the field that is wrong.
    """
    found = _read_object(line)
    if tube is None:
        if "tube" not in found:
            raise InvalidArgument("tube: the field is missing")
        tube = found["tube"]
    try:
        TUBE.check(tube)
    except InvalidArgument as error:
        raise InvalidArgument(f"tube: {error}") from None
    state, delay = _state_and_delay(found)
    return PortableJob(
        cast(str, tube),
        state,
        _number(found, "priority", PRIORITY, DEFAULT_PRIORITY),
        delay,
        _number(found, "ttr", TTR, DEFAULT_TTR),
        _body(found),
        _server(found),
    )


def _read_object(line: bytes | str) -> dict[str, Any]:
    """Return the fields of a line; raise InvalidArgument unless it is an object of known ones."""
    try:
        text = line if isinstance(line, str) else line.decode()
        found = _JSON.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"it is not UTF-8: byte {error.start + 1} is wrong") from None
    except json.JSONDecodeError as error:
        raise InvalidArgument(
            f"it is not JSON: {error.msg} at character {error.pos + 1}"
        ) from None
    except InvalidArgument:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits; deep nesting
        raise InvalidArgument("it is not the JSON of a job: it is too deep or too long") from None
    if not isinstance(found, dict):
        raise InvalidArgument("it is not a JSON object")
    if not _FIELDS.issuperset(found):
        unknown = min(found.keys() - _FIELDS)
        raise InvalidArgument(f"{unknown[:50]!a} is not a field of a job")
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidArgument("a field is there twice")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_without_doubles)


def _number(found: dict[str, Any], name: str, kind: Number, default: int) -> int:
    value = found.get(name, default)
    if type(value) is int and 0 <= value <= kind.limit:
        return value
    if type(value) is not int:
        raise InvalidArgument(f"{name}: it must be a whole number, not {_shown(value)}")
    raise InvalidArgument(f"{name}: it must be from 0 to {kind.limit}")


def _state_and_delay(found: dict[str, Any]) -> tuple[State, int]:
    delay = _number(found, "delay", DELAY, 0)
    state = found.get("state", "delayed" if delay else "ready")
    if state not in STATES:
        raise InvalidArgument(f"state: it must be one of {', '.join(STATES)}, not {_shown(state)}")
    if state == "delayed" and not delay:
        raise InvalidArgument("delay: it must be 1 or more where the state is delayed")
    if state != "delayed" and delay:
        raise InvalidArgument(f"delay: it must be 0 where the state is {state}")
    return cast(State, state), delay


def _server(found: dict[str, Any]) -> str | None:
    name = found.get("server")
    if name is None or isinstance(name, str):
        return name
    raise InvalidArgument(f"server: it must be a string, not {_shown(name)}")


def _body(found: dict[str, Any]) -> bytes:
    if "body" not in found:
        raise InvalidArgument("body: the field is missing")
    text = found["body"]
    if not isinstance(text, str):
        raise InvalidArgument(f"body: it must be a string, not {_shown(text)}")
    encoding = found.get("encoding", "utf-8")
    try:
        if encoding == "utf-8":
            body = text.encode()
        elif encoding == "base64":
            body = base64.b64decode(text, validate=True)
        else:
            raise InvalidArgument(f"encoding: it must be base64 or utf-8, not {_shown(encoding)}")
    except UnicodeEncodeError:
        raise InvalidArgument("body: it has half of a surrogate pair, which is not text") from None
    except (binascii.Error, ValueError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument("body: it is not base64") from None
    SIZE.check(len(body))
    return body


def _shown(value: object) -> str:
    """Return a value as JSON in ASCII, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 50 else f"{text[:47]}..."
