"""Sends one request and reads its answer, over connections that are kept. Needs aiohttp."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .address import is_public
from .answer import SHOWN, Answer
from .connection import Stale, WatchedConnector, WatchedRequest
from .request import Request

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer's body that are read, so that the connection can be used again. Where there
is more, the connection is closed."""

KEEP_ALIVE = 1.0
"""Seconds that a connection is kept without a request. Common servers close theirs after two
seconds or more; a request that meets such an end would fail for nothing."""

MAX_KEPT_BODY = 64 * 1024
"""Bytes of a body that may go over a kept connection. A server may answer before it has all of a
large one; on a new connection that answer can be no other's."""

_KEPT = 4 * SHOWN
_LARGE = 1024 * 1024


class Unreachable(Exception):
    """No answer came; another attempt may get one."""


class Refused(Exception):
    """The request is not made, now or later: its host's address is not allowed."""


class HTTPClient:
    """Connections to any hosts, at most one under way for each call of :meth:`send`.

    :param named: hosts that may have any address; None: no host's address is looked at
    :param keep_alive: keep connections for later requests; else each has one of its own
    """

    def __init__(self, named: Collection[str] | None, keep_alive: bool = True) -> None:
        resolver: AbstractResolver = aiohttp.ThreadedResolver()
        if named is not None:
            resolver = CheckedResolver(resolver, named)
        tls = ssl.create_default_context()
        self._single = _session(resolver, tls, force_close=True)
        self._kept: aiohttp.ClientSession | None = None
        if keep_alive:
            self._kept = _session(resolver, tls, keepalive_timeout=KEEP_ALIVE)

    async def send(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """Make the request with these headers. Raises Unreachable and Refused."""
        small = len(request.body) <= MAX_KEPT_BODY
        session = self._kept if self._kept is not None and small else self._single
        while True:
            try:
                return await self._send(session, request, headers)
            except Stale:
                continue  # with the next one that was kept, or a new one
            except asyncio.TimeoutError:
                raise Unreachable(_late(request.timeout)) from None
            except (aiohttp.ClientError, OSError) as error:
                raise Unreachable(_text(error)) from None

    async def _send(
        self, session: aiohttp.ClientSession, request: Request, headers: Mapping[str, str]
    ) -> Answer:
        async with session.request(
            request.method,
            URL(str(request.url), encoded=True),
            data=_payload(request.body),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=request.timeout, sock_connect=None),
        ) as response:
            return await _read(response, request.timeout)

    async def close(self) -> None:
        """Close every connection."""
        await self._single.close()
        if self._kept is not None:
            await self._kept.close()


def _session(
    resolver: AbstractResolver, tls: ssl.SSLContext, **keeping: Any
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=WatchedConnector(
            limit=0,  # the slots are the limit
            ssl=tls,
            resolver=resolver,
            **keeping,
        ),
        request_class=WatchedRequest,
        # What one answer sets must not go into the request of another job.
        cookie_jar=aiohttp.DummyCookieJar(),
        # Neither proxies of the environment nor the passwords of ~/.netrc.
        trust_env=False,
        # 1 KB of zeros that unpack to 1 GB are not worth two lines in a log.
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
    )


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    # A large one goes out piece by piece, so that the other slots have their turns.
    return io.BytesIO(body) if len(body) > _LARGE else body or None


async def _read(response: aiohttp.ClientResponse, timeout: float | None) -> Answer:
    beginning = b""
    size = 0
    broken = ""
    try:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            beginning += chunk[: _KEPT - len(beginning)]
            if size > MAX_ANSWER:
                response.close()
                break
    except asyncio.TimeoutError:
        broken = f"the answer's end did not come: {_late(timeout)}"
    except (aiohttp.ClientError, OSError) as error:
        broken = f"the answer's end did not come: {_text(error)}"
    return Answer(
        response.status,
        response.reason or "",
        response.headers.get("Retry-After"),
        beginning,
        broken,
    )


def _late(timeout: float | None) -> str:
    return "timed out" if timeout is None else f"timed out after {timeout:g} s"


def _text(error: BaseException) -> str:
    # As a str it would hold the whole URL, with its query.
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return said[:SHOWN] or type(error).__name__


class CheckedResolver(AbstractResolver):
    """Looks names up, and refuses those that lead to where the public cannot get.

    It is the resolver of the connections, not a look before: a name's address may have changed
    between the two.
    """

    def __init__(self, resolver: AbstractResolver, named: Collection[str]) -> None:
        self._resolver = resolver
        self._named = frozenset(named)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises Refused, and OSError where there is none."""
        found = await self._resolver.resolve(host, port, family)
        if host not in self._named:
            for result in found:
                if not is_public(result["host"]):
                    raise Refused(
                        f"{host} is {result['host']}, which is no public address; if that is "
                        "meant to be, name the host in allow_private"
                    )
        return found

    async def close(self) -> None:
        await self._resolver.close()
