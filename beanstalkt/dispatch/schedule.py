"""Schedules a function: puts a job that calls it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ..client.client import Client
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from .call import encode


@dataclass(frozen=True)
class Scheduled:
    """Name a function, and say how its job is put.

    It takes the place of the name, so that every keyword is an argument of the function:
    ``schedule_function(client, "mail", Scheduled("send", delay=60), to, priority="high")``.

    :ivar name: name of the function in the dispatch table
    :ivar priority: 0 is the most urgent, 2**32 - 1 the least
    :ivar delay: seconds until the job is ready
    :ivar ttr: seconds that a worker may hold the job
    """

    name: str
    priority: int = DEFAULT_PRIORITY
    delay: int = 0
    ttr: int = DEFAULT_TTR


def schedule_function(
    client: Client, tube: str, name: str | Scheduled, /, *args: Any, **kwargs: Any
) -> asyncio.Future[int]:
    """Put a job that calls the function with these arguments; the result is its id.

    :param name: name of the function in the dispatch table of the workers
    :param args: None, bool, int, finite float, str, and lists and dicts of them, as `kwargs`

    Raises InvalidArgument, before anything is sent, for arguments that are not JSON; and
    whatever :meth:`Client.put <beanstalkt.Client.put>` raises.
    """
    scheduled = name if isinstance(name, Scheduled) else Scheduled(name)
    body = encode(scheduled.name, args, kwargs)
    return client.put(body, scheduled.priority, scheduled.delay, scheduled.ttr, tube=tube)
