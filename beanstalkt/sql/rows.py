"""A row of the outbox, and the job that is put for it. No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import InvalidArgument
from ..protocol.arguments import DELAY, MAX_NUMBER, PRIORITY, TTR, TUBE, check_body
from ..worker.outbox_id import Carried, json_keys, wrap

HTTP_MARGIN = 10
"""Seconds that a job with a URL may be held longer than its request may take."""

PAYLOAD_MARGIN = 1
"""Seconds that another job may be held longer than its work may take: for settling it."""


# Not frozen: to make a frozen one takes several times as long, and hundreds are made at a time.


@dataclass(slots=True)
class QueuedJob:
    """A row that was claimed.

    The types are those that the database should have; SQLite may give any other one.

    :ivar size: bytes of url, body, headers and payload together (on SQLite, characters of texts);
        if they are more than was asked for, those four are None
    :ivar timed: whether `not_before` is set
    :ivar delay: seconds until then; None: it is not set, or is no time
    :ivar remaining_retries: attempts that are left; None: the runner decides
    :ivar retry_delay_secs: seconds before another attempt; None: the runner decides
    """

    id: int
    http_method: str
    url: str | None
    body: str | None
    headers: str | None
    payload: bytes | None
    timeout_secs: int
    tube: str | None
    priority: int
    ttr_secs: int | None
    size: int
    timed: int
    delay: float | None
    remaining_retries: int | None
    retry_delay_secs: int | None


@dataclass(slots=True)
class Put:
    """A job that is to be put for a row.

    :ivar delay: seconds
    :ivar ttr: seconds
    """

    row_id: int
    tube: str
    priority: int
    delay: int
    ttr: int
    body: bytes


def put_of(
    row: QueuedJob, default_tube: str, *, plain: bool = False, max_size: int = MAX_NUMBER
) -> Put:
    """Return the job for a row. Raises InvalidArgument if the row describes none.

    :param default_tube: the tube of rows that name none
    :param max_size: bytes of a body that the server takes at most
    :param plain: leave payloads as they are, without the id of the row
    """
    if row.size > max_size:
        raise InvalidArgument(f"the job has {row.size} bytes, and the server takes {max_size}")
    tube = default_tube if row.tube is None else row.tube
    margin = PAYLOAD_MARGIN if row.url is None else HTTP_MARGIN
    priority, ttr = _numbers(tube, row.timeout_secs, margin, row.ttr_secs, row.priority)
    if row.url is not None:
        body = _request(row)
    else:
        payload = check_body(row.payload)
        body = payload if plain else wrap(payload, _carried(row))
    return Put(row.id, tube, priority, _delay(row) if row.timed else 0, ttr, body)


@lru_cache(maxsize=1000, typed=True)  # most rows have those of the row before
def _numbers(
    tube: object, timeout_secs: object, margin: int, ttr_secs: object, priority: object
) -> tuple[int, int]:
    """Return the priority and the ttr of a job, and check its tube."""
    TUBE.check(tube)
    timeout = _whole(timeout_secs, "timeout_secs")
    if timeout < 1:
        raise InvalidArgument("timeout_secs must be at least 1")
    ttr = timeout + margin if ttr_secs is None else _whole(ttr_secs, "ttr_secs")
    return PRIORITY.check(_whole(priority, "priority")), TTR.check(ttr)


def _request(row: QueuedJob) -> bytes:
    """Return the JSON that `work --http-job` reads. What is carried comes first in it."""
    request: dict[str, Any] = {
        **json_keys(_carried(row)),
        "http_method": _text(row.http_method, "http_method"),
        "url": _text(row.url, "url"),
    }
    if row.body is not None:
        request["body"] = _text(row.body, "body")
    if row.headers is not None:
        request["headers"] = _headers(_text(row.headers, "headers"))
    request["timeout_secs"] = row.timeout_secs
    try:
        return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidArgument("url, body or headers cannot be sent as UTF-8") from None


def _carried(row: QueuedJob) -> Carried:
    """Return what the job of a row tells the runner."""
    attempts, delay = row.remaining_retries, row.retry_delay_secs
    if attempts is not None and _whole(attempts, "remaining_retries") < 1:
        raise InvalidArgument("remaining_retries must be at least 1: it counts the attempts left")
    if delay is not None and not 0 <= _whole(delay, "retry_delay_secs") <= MAX_NUMBER:
        raise InvalidArgument(f"retry_delay_secs must be from 0 to {MAX_NUMBER}")
    return Carried(row.id, attempts, delay)


def _headers(text: str) -> Mapping[str, str]:
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"headers is not JSON: {str(error)[:200]}") from None
    if not isinstance(headers, dict):
        raise InvalidArgument("headers is JSON, but not an object of names and values")
    for name, value in headers.items():
        if not isinstance(value, str):
            raise InvalidArgument(f"headers: the value of {name[:60]!r} is not a string")
    return headers


def _text(value: object, column: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{column} is {type(value).__name__}, not text")
    return value


def _whole(value: object, column: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{column} is {type(value).__name__}, not a whole number")
    return value


def _delay(row: QueuedJob) -> int:
    if row.delay is None:
        raise InvalidArgument("not_before is not a time")
    if math.isnan(row.delay) or row.delay > MAX_NUMBER:
        raise InvalidArgument(f"not_before is more than {MAX_NUMBER} seconds away")
    return DELAY.check(math.ceil(row.delay)) if row.delay > 0 else 0
