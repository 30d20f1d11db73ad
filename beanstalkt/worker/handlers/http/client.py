"""Sends a request and reads its response, over connections that are kept. Needs aiohttp."""

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

from .public_address import is_public
from .request import HTTPRequest
from .response import MAX_SHOWN, HTTPResponse
from .watched_connection import Stale, WatchedConnector, WatchedRequest

MAX_RESPONSE = 1024 * 1024
"""Bytes of a response's body that are read, so that the connection can be used again. If there
are more, the connection is closed."""

KEEP_ALIVE = 1.0
"""Seconds that a connection is kept without a request. Common servers close theirs after two
seconds or more; a request that meets such an end would fail without need."""

MAX_KEPT_BODY = 64 * 1024
"""Bytes of a request's body that may be sent over a kept connection. A server may respond before
it has read all of a larger one; on a new connection, no other request can get that response."""

_BEGINNING = 4 * MAX_SHOWN
_LARGE = 1024 * 1024


class Unreachable(Exception):
    """Report that no response came; another attempt may get one."""


class Refused(Exception):
    """Report that the request must never be made: the address of its host is not allowed."""


class HTTPClient:
    """Send requests to any hosts, each over a connection that no other request uses meanwhile.

    :param named: hosts that may have any address; None: every host may
    :param keep_alive: keep connections for later requests; otherwise each request has a new one
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

    async def send(self, request: HTTPRequest, headers: Mapping[str, str]) -> HTTPResponse:
        """Send a request with these headers, and return the response.

        Raises Unreachable and Refused.
        """
        small = len(request.body) <= MAX_KEPT_BODY
        session = self._kept if self._kept is not None and small else self._single
        while True:
            try:
                return await self._send(session, request, headers)
            except Stale:
                continue  # with the next connection that was kept, or a new one
            except asyncio.TimeoutError:
                raise Unreachable(_late(request.timeout)) from None
            except (aiohttp.ClientError, OSError) as error:
                raise Unreachable(_text(error)) from None

    async def _send(
        self, session: aiohttp.ClientSession, request: HTTPRequest, headers: Mapping[str, str]
    ) -> HTTPResponse:
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
        # A cookie that a response sets must not go into the request of another job.
        cookie_jar=aiohttp.DummyCookieJar(),
        # Use neither proxies of the environment nor the passwords of ~/.netrc.
        trust_env=False,
        # Do not unpack a body, which may grow from 1 KB to 1 GB, for two lines in a log.
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
    )


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    # A large body is sent in pieces, so that the other slots get their turns.
    return io.BytesIO(body) if len(body) > _LARGE else body or None


async def _read(response: aiohttp.ClientResponse, timeout: float | None) -> HTTPResponse:
    beginning = b""
    size = 0
    broken = ""
    try:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            beginning += chunk[: _BEGINNING - len(beginning)]
            if size > MAX_RESPONSE:
                response.close()
                break
    except asyncio.TimeoutError:
        broken = f"the end of the response did not come: {_late(timeout)}"
    except (aiohttp.ClientError, OSError) as error:
        broken = f"the end of the response did not come: {_text(error)}"
    return HTTPResponse(
        response.status,
        response.reason or "",
        response.headers.get("Retry-After"),
        beginning,
        broken,
    )


def _late(timeout: float | None) -> str:
    return "timed out" if timeout is None else f"timed out after {timeout:g} s"


def _text(error: BaseException) -> str:
    # str(error) would hold the whole URL with its query.
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return text[:MAX_SHOWN] or type(error).__name__


class CheckedResolver(AbstractResolver):
    """Look up names, and refuse those whose addresses are not public.

    This is the resolver that the connections use, and not a check before: the address of a name
    may change between the two.

    :param named: hosts that may have any address
    """

    def __init__(self, resolver: AbstractResolver, named: Collection[str]) -> None:
        self._resolver = resolver
        self._named = frozenset(named)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises Refused, and OSError if it has none."""
        found = await self._resolver.resolve(host, port, family)
        if host not in self._named:
            for result in found:
                if not is_public(result["host"]):
                    raise Refused(
                        f"{host} is {result['host']}, which is not a public address; if that is "
                        "meant to be, name the host in allow_private"
                    )
        return found

    async def close(self) -> None:
        """Close the resolver that this one asks."""
        await self._resolver.close()
