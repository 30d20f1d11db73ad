"""The HTTP request for a job, read from its body or made of it. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ....protocol.arguments import MAX_NUMBER
from ...outbox_id import JSON_KEYS
from ..base import WorkerJob
from .url import HTTPURL

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that a job may name."""

TIMEOUT = 60.0
"""Seconds for connecting, the request and its response, unless the job says otherwise."""

AGENT = "beanstalkt"
"""The User-Agent of the requests."""

SQSD_AGENT = "aws-sqsd/2.0"
"""The User-Agent of Elastic Beanstalk's daemon. Applications recognise it by its beginning."""

_KEYS = ("http_method", "url", "body", "timeout_secs", "headers", *JSON_KEYS)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")

_FORBIDDEN = frozenset(
    {
        # These frame the message or belong to the connection: if two servers disagree on where a
        # request ends, one request becomes two.
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # The configuration alone decides which credentials are sent.
        "authorization",
        "cookie",
        "cookie2",
    }
)
# "Proxy" itself is refused too: CGI calls it HTTP_PROXY, which is a setting of many programs.
_FORBIDDEN_PREFIXES = ("proxy-", "x-beanstalkt-", "x-aws-sqsd-")


@dataclass(frozen=True)
class HTTPRequest:
    """An HTTP request.

    :ivar headers: those that the job gives
    :ivar timeout: seconds for the request and its response; None: as long as the slot allows
    """

    method: str
    url: HTTPURL
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None


def read_request(body: bytes) -> HTTPRequest:
    """Return the request that a job's body describes in JSON. Raises ValueError."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:  # the latter if it is nested too deeply
        raise ValueError(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"the body is {_type(fields)}, not an object")
    for key in fields:
        # With a misspelt timeout_secs it would be another request than was meant.
        if key not in _KEYS:
            raise ValueError(f"{key[:60]!r} is none of {', '.join(_KEYS)}")
    text = _text(fields, "body", "")
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        raise ValueError("body holds half a character") from None
    return HTTPRequest(
        _method(_text(fields, "http_method", "POST")),
        _url(_text(fields, "url")),
        payload,
        _headers(fields.get("headers", {})),
        _timeout(fields.get("timeout_secs", TIMEOUT)),
    )


def _text(fields: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = fields.get(key, default)
    if key not in fields and default is None:
        raise ValueError(f"{key} is missing")
    if not isinstance(value, str):
        raise ValueError(f"{key} is {_type(value)}, not a string")
    return value


def _type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")


def _method(text: str) -> str:
    if text.upper() not in METHODS:
        raise ValueError(f"http_method: {text[:60]!r} is none of {', '.join(sorted(METHODS))}")
    return text.upper()


def _url(text: str) -> HTTPURL:
    try:
        return HTTPURL.parse(text)
    except ValueError as error:
        raise ValueError(f"url: {error}") from None


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"timeout_secs is {_type(value)}, not a number")
    if not 0 < value <= MAX_NUMBER:  # nor NaN
        raise ValueError(f"timeout_secs must be more than 0 and at most {MAX_NUMBER}")
    return float(value)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"headers is {_type(value)}, not an object")
    seen: set[str] = set()
    for name, text in value.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"headers: {name[:60]!r} is not the name of a header")
        folded = fold(name)
        if folded in _FORBIDDEN or f"{folded}-".startswith(_FORBIDDEN_PREFIXES):
            raise ValueError(f"headers: a job cannot set {name[:60]}")
        if name.lower() in seen:
            raise ValueError(f"headers: {name[:60]} is there twice")
        if not isinstance(text, str):
            raise ValueError(f"headers: {name[:60]} is {_type(text)}, not a string")
        header_value(text, f"headers: {name[:60]}")
        seen.add(name.lower())
    return value


def fold(name: str) -> str:
    """Return a header's name as the most careless server reads it.

    CGI and its successors give both X-Name and X_Name to a program as HTTP_X_NAME; others replace
    every character that is no letter or digit.
    """
    return re.sub("[^0-9a-z]+", "-", name.lower()).strip("-")


def header_value(text: str, what: str) -> str:
    """Return the text if it can be the value of a header. Raises ValueError.

    :param what: begins the message
    """
    if not _VALUE.fullmatch(text):
        raise ValueError(f"{what} may hold printable ASCII only")
    return text


def job_headers(work: WorkerJob, sqsd: bool, now: datetime) -> dict[str, str]:
    """Return the headers that describe the job of a request.

    :param sqsd: add the headers of Elastic Beanstalk's daemon
    :param now: with a time zone
    """
    counters: Mapping[str, object] = work.counters
    headers = {
        "X-Beanstalkt-Job-Id": str(work.id),
        "X-Beanstalkt-Tube": work.tube,
        "X-Beanstalkt-Attempt": str(work.attempt),
        "X-Beanstalkt-Reserves": str(counters.get("reserves", "")),
        "X-Beanstalkt-Timeouts": str(counters.get("timeouts", "")),
        "X-Beanstalkt-Age": str(counters.get("age", "")),
        "X-Beanstalkt-Ttr": str(counters.get("ttr", "")),
    }
    if work.outbox_id is not None:
        headers["X-Beanstalkt-Outbox-Id"] = str(work.outbox_id)
    if sqsd:
        # beanstalkd does not know when a job was first reserved, but it was put `age` seconds ago.
        age = counters.get("age", 0)
        put = now.timestamp() - (age if isinstance(age, int) else 0)
        headers |= {
            "User-Agent": SQSD_AGENT,
            "X-Aws-Sqsd-Msgid": str(work.id),
            "X-Aws-Sqsd-Queue": work.tube,
            "X-Aws-Sqsd-First-Received-At": _utc(put),
            "X-Aws-Sqsd-Receive-Count": str(counters.get("reserves", "")),
        }
    return headers


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
