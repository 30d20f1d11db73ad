"""Puts jobs that call functions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ..client.client import Client
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from .call import encode


@dataclass(frozen=True)
class Scheduled:
    """The name of a function together with how its job is put.

    It stands where the name stands, so that every keyword remains the function's own:
    ``schedule_function(client, "mail", Scheduled("send", delay=60), to, priority="high")``.

    :ivar name: of the function, in the dispatch table
    :ivar priority: 0 is the most urgent, 2**32 - 1 the least
    :ivar delay: seconds before it is ready
    :ivar ttr: seconds that a worker may hold it
    """

    name: str
    priority: int = DEFAULT_PRIORITY
    delay: int = 0
    ttr: int = DEFAULT_TTR


def schedule_function(
    client: Client, tube: str, name: str | Scheduled, /, *args: Any, **kwargs: Any
) -> asyncio.Future[int]:
    """Put a job that calls the function with these arguments; gives its id.

    :param name: the function's name in the dispatch table of whoever works on the tube
    :param args: None, bool, int, finite float, str, and lists and dicts of them, as `kwargs`

    Raises InvalidArgument for whatever is not JSON, before anything is sent; else what
    :meth:`Client.put <beanstalkt.Client.put>` raises.
    """
    scheduled = name if isinstance(name, Scheduled) else Scheduled(name)
    body = encode(scheduled.name, args, kwargs)
    return client.put(body, scheduled.priority, scheduled.delay, scheduled.ttr, tube=tube)
