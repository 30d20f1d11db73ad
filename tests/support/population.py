"""Jobs of every kind in a server: made as described, and described as they are found."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from beanstalkt import Client
from beanstalkt.admin import Scan, select

FAR = 10**6
"""Seconds; a delay that no test lives to see the end of."""


class Kind(NamedTuple):
    """What is to be kept of a job wherever it goes."""

    tube: str
    state: str
    priority: int
    delay: int
    ttr: int
    body: bytes


def kind(
    body: bytes = b"x",
    state: str = "ready",
    tube: str = "a",
    priority: int = 5,
    delay: int = 0,
    ttr: int = 60,
) -> Kind:
    """Return the description of a job; a delayed one has a long delay by default."""
    return Kind(tube, state, priority, delay or FAR * (state == "delayed"), ttr, body)


NUMBERS = st.sampled_from([0, 1, 1023, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
DELAYS = st.integers(FAR, 2**32 - 2)
KINDS = st.builds(
    lambda tube, state, priority, delay, ttr, body: Kind(
        tube, state, priority, delay * (state == "delayed"), ttr, body
    ),
    st.sampled_from(["a", "b", "007", "null", "$(x);/+.-_"]),
    st.sampled_from(["ready", "delayed", "buried"]),
    NUMBERS,
    DELAYS,
    st.integers(10, 2**32 - 1),
    st.binary(max_size=60) | st.text(max_size=20).map(lambda text: text.encode("utf-8")),
)
"""Jobs in the states that they can have without a worker."""


async def populate(client: Client, kinds: Iterable[Kind]) -> list[int]:
    """Put these jobs, in order; return their ids. A reserved one is held by this client."""
    ids = []
    for each in kinds:
        job_id = await client.put(each.body, each.priority, each.delay, each.ttr, tube=each.tube)
        if each.state in ("buried", "reserved"):
            job = await client.reserve_job(job_id)
            if each.state == "buried":
                await job.bury(each.priority)
        ids.append(job_id)
    return ids


async def population(client: Client, *tubes: str) -> list[Kind]:
    """Return the jobs of tubes (default: all), in the order of their ids."""
    return [
        Kind(
            record.tube,
            record.state,
            record.priority,
            # Seconds may have passed: what is left of a long delay tells which one it was.
            record.time_left if record.state == "delayed" else 0,
            record.ttr,
            record.body or b"",
        )
        async for record in Scan(client, select(tubes), bodies=True)
    ]


def same(found: Sequence[Kind], expected: Sequence[Kind], *, ordered: bool = True) -> None:
    """Assert that these are the same jobs; of a delay some seconds may have passed."""

    def rounded(kinds: Sequence[Kind]) -> list[Kind]:
        result = [each._replace(delay=0) for each in kinds]
        return result if ordered else sorted(result)

    assert rounded(found) == rounded(expected)
    if ordered:
        for one, other in zip(found, expected, strict=True):
            assert other.delay - 60 <= one.delay <= other.delay, (one, other)


async def empty(client: Client) -> None:
    """Delete every job that is not reserved."""
    ids = [record.id async for record in Scan(client, select())]
    await asyncio.gather(*(client.delete(each) for each in ids))
