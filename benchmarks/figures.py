"""Declare the figures that the client should reach. They are printed; no test depends on them."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    admin,  # noqa: F401 - declares figures
    bare,
    blocking,
    client,
    embedded,  # noqa: F401 - declares figures
    functions,  # noqa: F401 - declares figures
    http_jobs,  # noqa: F401 - declares figures
    idle,  # noqa: F401 - declares figures
    outbox,  # noqa: F401 - declares figures
    peers,
    pool,  # noqa: F401 - declares figures
    sampler,  # noqa: F401 - declares figures
    transfer,  # noqa: F401 - declares figures
    worker,  # noqa: F401 - declares figures
)
from .registry import Measure, Round, at_least, at_most, cpu, rate

CEILING = 95_000
"""Puts per second of a bare socket on the machine for which the CPU targets were set."""


def scaled_cpu(measure: Measure) -> Callable[[Round], float]:
    """Return the microseconds per command, scaled to a machine whose ceiling is `CEILING`."""
    return lambda samples: samples[measure].cpu_per_command * samples[bare.put].rate / CEILING


at_least(0.90, "put from 200 tasks, against the bare socket", rate(client.put_tasks, bare.put))
at_least(0.95, "put_many, against the bare socket", rate(client.put_many, bare.put))
at_most(
    1 / 3,
    "CPU of a put by put_many, against one of 200 tasks",
    cpu(client.put_many, client.put_tasks),
)
at_least(
    3.0,
    "reserve + delete from 200 tasks, against greenstalk",
    rate(client.reserve_delete_tasks, peers.greenstalk_reserve_delete),
)
at_least(1.0, "put one after another, against aiostalk", rate(client.put, peers.aiostalk_put))
at_least(
    1.0,
    "reserve + delete one after another, against aiostalk",
    rate(client.reserve_delete, peers.aiostalk_reserve_delete),
)
at_least(
    1.0,
    "put one after another by the blocking client, against greenstalk",
    rate(blocking.put, peers.greenstalk_put),
)
at_least(
    1.0,
    "reserve + delete by the blocking client, against greenstalk",
    rate(blocking.reserve_delete, peers.greenstalk_reserve_delete),
)
at_least(
    0.90,
    "put_many of the blocking client, against the bare socket that reads once a millisecond",
    rate(blocking.put_many, bare.put_napping),
)
at_least(
    1.0,
    "64 KiB by the blocking client, against greenstalk",
    rate(blocking.big, peers.greenstalk_big),
)
at_most(
    10.0,
    "µs of CPU for a put from 200 tasks, at 95,000/s",
    scaled_cpu(client.put_tasks),
)
at_most(
    10.0,
    "µs of CPU for a reserve or delete from 200 tasks, at 95,000/s",
    scaled_cpu(client.reserve_delete_tasks),
)
at_most(
    1.0,
    "parsing a list of 10,000 tubes, of the round trip",
    rate(client.list_tubes, client.parse_list),
)
