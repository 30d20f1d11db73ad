"""Verbs that talk to a server, each over a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..protocol.address import Address
from .exit_status import DONE, exit_status_of
from .stdio import say

Command = Callable[[Client, Namespace], Awaitable[int | None]]
"""Carry out a verb over a connected client; return the exit status, or None for 0."""


def connected(command: Command) -> Callable[[Namespace], int]:
    """Return a function of the options that runs `command` over a connection of its own.

    The function returns the exit status, and prints the message of a BeanstalkException.
    """

    async def connect_and_run(options: Namespace) -> int:
        async with client_of(options) as client:
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

    Raises InvalidArgument if BEANSTALKD_URL is not the URL of a server.
    """
    url = options.server
    if url is None:
        # Scripts set the variable to nothing in order to unset it.
        url = os.environ.get("BEANSTALKD_URL") or str(Address())
        try:
            Address.parse(url)
        except InvalidArgument as error:
            raise InvalidArgument(f"BEANSTALKD_URL: {error}") from None
    return another_client(options, url)


def another_client(options: Namespace, url: str) -> Client:
    """Make a client for the server at a URL, with the timeouts that the options tell."""
    return Client.from_url(
        url, connect_timeout=options.connect_timeout, response_timeout=options.response_timeout
    )
