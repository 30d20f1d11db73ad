"""Where jobs are moved or copied to: whether that is another place than where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..client.client import Client
from ..errors import ConnectionLost, InvalidArgument
from ..protocol.stats import Stats
from .selection import Selection
from .several import Clients

THERE = "its own jobs stay: it is the server that the jobs go to"


async def there_already(clients: Clients, given: Mapping[str, Any]) -> Mapping[str, str]:
    """Return which of several servers is the one that the jobs go to, unless they change tubes.

    Raises InvalidArgument, before anything is changed, if no job could be moved.
    """
    target, tube, selection = given["to"], given["tube"], given["selection"]
    if target is None:
        return {}
    there = await target.stats()
    same = [name for name, client in clients.items() if await _is_at(client, target, there)]
    if same and (tube is not None or len(same) == len(clients)):
        check_tube(selection, tube)
    return {} if tube is not None else dict.fromkeys(same, THERE)


async def _is_at(client: Client, target: Client, there: Stats) -> bool:
    """Return whether two clients have the same server; a lost one counts as another."""
    if client is target:
        return True
    try:
        here = await client.stats()
    except ConnectionLost:
        return False
    return is_same(here, there)


def is_same(here: Stats, there: Stats) -> bool:
    """Return whether these are statistics of the same process of a server."""
    return bool(here.get("id")) and here.get("id") == there.get("id")


def check_tube(selection: Selection, tube: str | None) -> None:
    """Check that jobs go to another tube than they are in; raise InvalidArgument."""
    if tube is None:
        raise InvalidArgument("the jobs would go to the same server: name another tube")
    if not selection.tubes or tube in selection.tubes:
        raise InvalidArgument(
            f"the jobs would go to the tube {tube} of the same server: name the tubes that they "
            "come from, which must be others"
        )
