"""What a job carries of its row of the outbox: the id, and the row's own limits. No I/O.

The relay of :mod:`beanstalkt.sql` writes it at the beginning of each body: as the first keys of
the JSON object of a job with a URL, and as header lines and an empty line before any other
payload, which the runner takes off before a handler sees the body.
"""

from __future__ import annotations

import re
from typing import NamedTuple

JSON_KEYS = ("outbox_id", "outbox_retries", "outbox_retry_delay")
"""The first keys of the JSON object that describes an HTTP request."""

_HEADERS = (
    b"Beanstalkt-Outbox-Id",
    b"Beanstalkt-Outbox-Retries",
    b"Beanstalkt-Outbox-Retry-Delay",
)
_STARTS = (b'{"outbox_id":', b"Beanstalkt-Outbox-Id: ")
_JSON = re.compile(
    rb'\{"outbox_id":(\d{1,18}),(?:"outbox_retries":(\d{1,10}),)?'
    rb'(?:"outbox_retry_delay":(\d{1,10}),)?'
)
_LINES = re.compile(
    rb"Beanstalkt-Outbox-Id: (\d{1,18})\n(?:Beanstalkt-Outbox-Retries: (\d{1,10})\n)?"
    rb"(?:Beanstalkt-Outbox-Retry-Delay: (\d{1,10})\n)?\n"
)


class Carried(NamedTuple):
    """What a job carries of its row.

    :ivar outbox_id: the id of the row; None: the job is not from an outbox
    :ivar attempts: how many attempts the job may have; None: the runner decides
    :ivar retry_delay: seconds before another attempt; None: the runner decides
    """

    outbox_id: int | None
    attempts: int | None = None
    retry_delay: int | None = None


NOTHING = Carried(None)
_NO_LIMITS = [None, None]


def wrap(payload: bytes, carried: Carried) -> bytes:
    """Return a payload with what it carries before it."""
    row_id, *limits = carried
    if row_id is not None and limits == _NO_LIMITS:  # nearly always
        return b"Beanstalkt-Outbox-Id: %d\n\n" % row_id + payload
    lines = [
        b"%s: %d\n" % (name, value)
        for name, value in zip(_HEADERS, carried, strict=True)
        if value is not None
    ]
    return b"".join([*lines, b"\n", payload])


def json_keys(carried: Carried) -> dict[str, int]:
    """Return the first keys of the JSON of a request, with their values."""
    pairs = zip(JSON_KEYS, carried, strict=True)
    return {key: value for key, value in pairs if value is not None}


def unwrap(body: bytes) -> tuple[Carried, bytes]:
    """Return what a job's body carries, and the body for a handler."""
    if not body.startswith(_STARTS):
        return NOTHING, body
    is_json = body.startswith(b"{")
    found = (_JSON if is_json else _LINES).match(body)
    if found is None:
        return NOTHING, body
    carried = Carried(*(None if each is None else int(each) for each in found.groups()))
    # The keys of JSON stay: the handler may read them as well.
    return carried, body if is_json else body[found.end() :]
