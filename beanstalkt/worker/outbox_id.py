"""The id of an outbox row that a job carries, by which its history finds the row. No I/O.

The relay of :mod:`beanstalkt.sql` writes it at the beginning of each body: as the first key of the
JSON object of a job with a URL, and as a header line and an empty line before any other payload,
which the runner takes off before a handler sees the body.
"""

from __future__ import annotations

import re

JSON_KEY = "outbox_id"
"""The first key of the JSON object that describes an HTTP request."""

_HEADER = b"Beanstalkt-Outbox-Id: %d\n\n"
_STARTS = (b'{"outbox_id":', b"Beanstalkt-Outbox-Id: ")
_CARRIED = re.compile(rb'\{"outbox_id":(\d{1,18}),|Beanstalkt-Outbox-Id: (\d{1,18})\n\n')


def wrap(outbox_id: int, payload: bytes) -> bytes:
    """Return a payload with the id of its row before it."""
    return _HEADER % outbox_id + payload


def unwrap(body: bytes) -> tuple[int | None, bytes]:
    """Return the id of the row that a job's body carries, or None, and the body for a handler."""
    if not body.startswith(_STARTS):
        return None, body
    found = _CARRIED.match(body)
    if found is None:
        return None, body
    if found[1] is not None:  # a key that the handler may read as well
        return int(found[1]), body
    return int(found[2]), body[found.end() :]
