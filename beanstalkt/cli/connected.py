"""Verbs that talk to a server, each over a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any

from ..admin.several import raise_all
from ..client.client import Client
from ..client.timing import Timing
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..protocol.address import Address
from ..protocol.servers import names_one, parse_job_id, parse_servers
from .exit_status import DONE, NO_SERVER, REFUSED, exit_status_of
from .running import run_interruptible
from .stdio import say

Command = Callable[[Any, Namespace], Awaitable[int | None]]
"""Carry out a verb over a connected client; return the exit status, or None for 0."""

Which = bool | Callable[[Namespace], bool]
"""Whether something holds of a verb, or of a verb with these options."""


TIMING = Timing(late_reply=0.1)
"""The intervals of a verb's client. Nothing keeps the loop of a verb from reading a reply."""


def connected(
    command: Command,
    *,
    each: Which = False,
    with_away: Which = False,
    outlives_connection: Which = False,
) -> Callable[[Namespace], int]:
    """Return a function of the options that runs `command` over a connection of its own.

    The function returns the exit status, and prints the message of a BeanstalkException.

    :param each: whether `command` takes clients by name if several servers are named; else it
        takes a pool then
    :param with_away: whether the clients of servers that do not answer are among them
    :param outlives_connection: whether `command` goes on over another connection when the one to
        its only server is lost; if not, its error tells of the loss, and the log need not
    """

    async def connect_and_run(options: Namespace) -> int:
        if _holds(each, options) and not names_one(servers_of_options(options)):
            async with NamedClients(options, _holds(with_away, options)) as clients:
                status = await command(clients.found, options) or DONE
                return NO_SERVER if clients.away and status in (DONE, REFUSED) else status
        async with client_of(options) as client:
            goes_on = _holds(outlives_connection, options)
            only = names_one(servers_of_options(options)) and not goes_on
            with errors_alone() if only else nullcontext():
                return await command(client, options) or DONE

    def run(options: Namespace) -> int:
        logging.basicConfig(format="beanstalkt: %(message)s")
        try:
            return run_interruptible(connect_and_run(options))
        except BeanstalkException as error:
            say(str(error) + server_of(error, options))
            if isinstance(error, ConnectionLost) and error.sent:
                say("the server may have carried out the command before the connection was lost")
            return exit_status_of(error)

    return run


@contextmanager
def errors_alone() -> Iterator[None]:
    """Log no warnings meanwhile."""
    logger = logging.getLogger("beanstalkt")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def server_of(error: BeanstalkException, options: Namespace) -> str:
    """Return, for the end of an error's message, which server was lost, unless it says so."""
    if exit_status_of(error) != NO_SERVER:
        return ""
    server = servers_of_options(options)
    return "" if server in str(error) or not names_one(server) else f" ({server})"


def _holds(which: Which, options: Namespace) -> bool:
    return which(options) if callable(which) else which


class NamedClients:
    """The clients of several servers by name, of which those that answer are connected.

    The others are told on standard error. Raises ConnectionLost if none answers.

    :param with_away: whether the others are used all the same
    """

    def __init__(self, options: Namespace, with_away: bool) -> None:
        servers = parse_servers(servers_of_options(options))
        self._all = {each.name: another_client(options, each.url) for each in servers}
        self._with_away = with_away
        #: those to be used
        self.found: Mapping[str, Client] = self._all
        #: the names of the others
        self.away: list[str] = []

    async def __aenter__(self) -> NamedClients:
        try:
            await self._connect()
        except BaseException:
            await self._close()
            raise
        return self

    async def _connect(self) -> None:
        clients = self._all
        results = await asyncio.gather(*map(_reach, clients.values()), return_exceptions=True)
        errors: dict[str, BaseException] = {
            name: result
            for name, result in zip(clients, results, strict=True)
            if isinstance(result, BaseException)
        }
        if len(errors) == len(clients) or any(
            not isinstance(error, BeanstalkException) for error in errors.values()
        ):
            raise_all(errors)
        _check_different(
            {
                name: result
                for name, result in zip(clients, results, strict=True)
                if isinstance(result, str)
            }
        )
        if not self._with_away:
            self.found = {name: client for name, client in clients.items() if name not in errors}
        self.away = list(errors)
        for name, error in errors.items():
            say(f"{name} is {'not available' if self._with_away else 'left out'}: {error}")

    async def _close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._all.values()))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()


async def _reach(client: Client) -> str:
    """Connect, and return the id of the server's process.

    It waits for an answer, since a server that is stopped accepts connections as well.
    """
    await client.connect()
    return (await client.stats()).get("id", "")


def _check_different(ids: Mapping[str, str]) -> None:
    """Raise InvalidArgument if two names are those of one server, whose jobs would count twice.

    :param ids: the ids of the processes by the names of the servers
    """
    names: dict[str, str] = {}
    for name, process in ids.items():
        if process and process in names:
            raise InvalidArgument(f"{names[process]} and {name} are the same server: name it once")
        names[process] = name


def client_of(options: Namespace) -> Any:
    """Make a client if the options or the environment name one server, and a pool if several.

    Raises InvalidArgument if BEANSTALKD_URL names none, and for ids of jobs of the other kind.
    """
    servers = servers_of_options(options)
    if names_one(servers):
        check_ids(options)
        return another_client(options, servers)
    check_names(options, servers)
    from ..pool.pool import Pool  # not for those who talk to one server

    return Pool(
        servers,
        connect_timeout=options.connect_timeout,
        response_timeout=options.response_timeout,
        timing=TIMING,
    )


def servers_of_options(options: Namespace) -> str:
    """Return the URL of the server that the options or the environment name, or a list of them.

    Raises InvalidArgument if BEANSTALKD_URL is neither.
    """
    if options.server is not None:
        return str(options.server)
    # Scripts set the variable to nothing in order to unset it.
    text = os.environ.get("BEANSTALKD_URL") or str(Address())
    try:
        if names_one(text):
            Address.parse(text)
        else:
            parse_servers(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"BEANSTALKD_URL: {error}") from None
    return text


def url_of_server(options: Namespace, server: str) -> str:
    """Return the URL of a server that is given by its URL, or as one of several by its name.

    Raises InvalidArgument if none of the servers is called so.
    """
    if "://" in server:
        return server
    servers = servers_of_options(options)
    found = () if names_one(servers) else parse_servers(servers)
    for each in found:
        if each.name == server:
            return each.url
    there = f"there are {', '.join(each.name for each in found)}" if found else "give its URL"
    raise InvalidArgument(f"no server is called {server!r}: {there}")


def turns_of(options: Namespace) -> list[str] | None:
    """Return the names of the servers in turn, each as often as its weight says.

    Returns None if all of them have the weight 0, and so none is preferred.
    """
    servers = parse_servers(servers_of_options(options))
    least = math.gcd(*(each.weight for each in servers)) or 1
    return [each.name for each in servers for _ in range(each.weight // least)] or None


def ids_of(options: Namespace) -> list[int | str]:
    """Return the ids of jobs among the options."""
    given = (getattr(options, "id", None), *(getattr(options, "ids", None) or ()))
    return [job_id for job_id in given if job_id is not None]


def check_names(options: Namespace, servers: str) -> None:
    """Raise InvalidArgument for the id of a job of none of several servers, before any is used."""
    names = [server.name for server in parse_servers(servers)]
    for job_id in ids_of(options):
        name, _ = parse_job_id(job_id if isinstance(job_id, str) else str(job_id))
        if name not in names:
            raise InvalidArgument(
                f"{job_id}: no server is called {name!r:.120}; there are {', '.join(names)}"
            )


def check_ids(options: Namespace) -> None:
    """Raise InvalidArgument for the id of a job that names a server, where there is but one."""
    for job_id in ids_of(options):
        if isinstance(job_id, str):
            raise InvalidArgument(
                f"{job_id} is the id of a job of one of several servers: name that one, "
                f"--server {job_id.rpartition('/')[0]}=URL"
            )


def another_client(options: Namespace, url: str) -> Client:
    """Make a client for the server at a URL, with the timeouts that the options tell."""
    return Client.from_url(
        url,
        connect_timeout=options.connect_timeout,
        response_timeout=options.response_timeout,
        timing=TIMING,
    )
