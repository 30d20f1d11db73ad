"""Verbs that talk to a server, each over a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..protocol.address import Address
from ..protocol.servers import names_one, parse_servers
from .exit_status import DONE, exit_status_of
from .stdio import say

Command = Callable[[Client, Namespace], Awaitable[int | None]]
"""Carry out a verb over a connected client; return the exit status, or None for 0."""


def connected(
    command: Command, several: bool | Callable[[Namespace], bool] = False
) -> Callable[[Namespace], int]:
    """Return a function of the options that runs `command` over a connection of its own.

    The function returns the exit status, and prints the message of a BeanstalkException.

    :param several: whether the verb can do with several servers; then `command` may get a pool
    """

    async def connect_and_run(options: Namespace) -> int:
        allowed = several(options) if callable(several) else several
        async with pool_or_client_of(options) if allowed else client_of(options) as client:
            return await command(client, options) or DONE

    def run(options: Namespace) -> int:
        logging.basicConfig(format="beanstalkt: %(message)s")
        try:
            return asyncio.run(connect_and_run(options))
        except BeanstalkException as error:
            say(str(error))
            if isinstance(error, ConnectionLost) and error.sent:
                say("the server may have carried out the command before the connection was lost")
            return exit_status_of(error)

    return run


def client_of(options: Namespace) -> Client:
    """Make a client for the server that the options or the environment name.

    Raises InvalidArgument if BEANSTALKD_URL is not the URL of a server, and if several are named.
    """
    servers = servers_of_options(options)
    if names_one(servers):
        return another_client(options, servers)
    first = parse_servers(servers)[0]
    raise InvalidArgument(
        f"{options.verb} works with one server at a time, without a name: give it alone, such as "
        f"--server {first.url}"
    )


def pool_or_client_of(options: Namespace) -> Any:
    """Make a client if one server is named, and a pool if several are.

    Raises what `client_of` does, and InvalidArgument for ids of jobs of the other kind.
    """
    servers = servers_of_options(options)
    if names_one(servers):
        check_ids(options)
        return another_client(options, servers)
    from ..pool.pool import Pool  # not for those who talk to one server

    return Pool(
        servers,
        connect_timeout=options.connect_timeout,
        response_timeout=options.response_timeout,
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


def check_ids(options: Namespace) -> None:
    """Raise InvalidArgument for the id of a job that names a server, where there is but one."""
    for job_id in (getattr(options, "id", None), *(getattr(options, "ids", None) or ())):
        if isinstance(job_id, str):
            raise InvalidArgument(
                f"{job_id} is the id of a job of one of several servers: name that one, "
                f"--server {job_id.rpartition('/')[0]}=URL"
            )


def another_client(options: Namespace, url: str) -> Client:
    """Make a client for the server at a URL, with the timeouts that the options tell."""
    return Client.from_url(
        url, connect_timeout=options.connect_timeout, response_timeout=options.response_timeout
    )
