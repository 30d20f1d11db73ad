"""The handler that makes an HTTP request for each job."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from ...config.values import boolean, one_of
from ...policy.decision import RELEASE
from ...policy.outcome import Kind, Outcome
from ..base import CannotStart, Handler, Option, WorkerJob
from .auth import Auth
from .request import AGENT, HTTPRequest, fold, header_value, job_headers, read_request
from .response import outcome_of_response
from .url import HTTPURL, read_host, read_prefix

if TYPE_CHECKING:
    from .client import HTTPClient

CONTENT_TYPE = "application/json"

_SUCCESSES = {"200": frozenset({200}), "2xx": frozenset(range(200, 300))}


class HTTPHandler(Handler):
    """Make HTTP requests: POST each job to one URL, or make the request that the job describes.

    :param target: the URL to which each job is posted; None: each job describes its request
    :param allow: prefixes, one of which a URL in a job must have
    :param private: hosts whose addresses need not be public
    :param keep_alive: keep connections for later requests
    """

    options = (
        Option(
            "http",
            HTTPURL.parse,
            "POST the job's body to this URL",
            metavar="URL",
            selects=True,
        ),
        Option(
            "http_job",
            boolean,
            "make the request that the job describes, in JSON: http_method, url, body, headers, "
            "timeout_secs",
            selects=True,
            switch=True,
        ),
        Option(
            "allow",
            lambda text: tuple(read_prefix(word) for word in text.split()),
            "with http_job: only URLs that begin with one of these",
            metavar="URLS",
            default=(),
        ),
        Option(
            "allow_private",
            lambda text: frozenset(read_host(word) for word in text.split()),
            "with http_job: hosts whose address may be a private one",
            metavar="HOSTS",
            default=frozenset(),
        ),
        Option("auth", Auth.parse, "credentials: basic:FILE or bearer:FILE", metavar="KIND:FILE"),
        Option(
            "success",
            one_of(_SUCCESSES),
            "the statuses that mean success: 200 or 2xx (200)",
            metavar="STATUS",
            default=_SUCCESSES["200"],
        ),
        Option(
            "content_type",
            lambda text: header_value(text, "it"),
            f"the Content-Type of the requests ({CONTENT_TYPE})",
            metavar="TYPE",
            default=CONTENT_TYPE,
        ),
        Option(
            "keep_alive",
            boolean,
            "no: a new connection for each request (yes)",
            metavar="YES|NO",
            default=True,
        ),
        Option(
            "compat",
            one_of({"sqsd": True}),
            "sqsd: send the headers of Elastic Beanstalk's daemon as well",
            metavar="NAME",
            default=False,
        ),
    )
    defaults: ClassVar[Mapping[str, Any]] = {"on_temporary_fail": RELEASE, "max_attempts": 5}
    in_process = False

    def __init__(
        self,
        target: HTTPURL | None,
        *,
        allow: Sequence[HTTPURL] = (),
        private: frozenset[str] = frozenset(),
        auth: Auth | None = None,
        successes: frozenset[int] = _SUCCESSES["200"],
        content_type: str = CONTENT_TYPE,
        sqsd: bool = False,
        keep_alive: bool = True,
    ) -> None:
        self._target = target
        self._allow = tuple(allow)
        # A private host that stands in a prefix is allowed by whoever wrote that prefix.
        self._named = private | {url.host for url in allow if url.names_private_host()}
        self._auth = auth
        self._successes = successes
        self._content_type = content_type
        self._sqsd = sqsd
        self._keep_alive = keep_alive
        self._client: HTTPClient | None = None  # made for the first job, since it needs the loop

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> HTTPHandler:
        """Return a handler with these options. Raises ValueError."""
        target = values.get("http")
        if values.get("http_job", False):
            if target is not None:
                raise ValueError("one tube cannot have both http and http_job")
            if not values["allow"]:
                raise ValueError("http_job needs allow: the beginnings of the URLs it may request")
        elif target is None:
            raise ValueError("http_job is no, and there is no http")
        elif values["allow"] or values["allow_private"]:
            raise ValueError("allow and allow_private go with http_job")
        return cls(
            target,
            allow=values["allow"],
            private=values["allow_private"],
            auth=values.get("auth"),
            successes=values["success"],
            content_type=values["content_type"],
            sqsd=values["compat"],
            keep_alive=values["keep_alive"],
        )

    def describe(self) -> str:
        """Return which requests the handler makes, without queries."""
        if self._target is not None:
            return f"POST to {self._target.without_query()}"
        return f"requests under {' '.join(map(str, self._allow))}"

    def check(self) -> None:
        """Raise CannotStart if aiohttp is missing, or if the credentials cannot be read."""
        if importlib.util.find_spec("aiohttp") is None:
            raise CannotStart("HTTP needs the package aiohttp: pip install 'beanstalkt[http]'")
        if self._auth is not None:
            self._auth.header()

    async def run(self, work: WorkerJob) -> Outcome:
        """Make the request for a job, and return what the response means."""
        try:
            request = self._request(work)
        except ValueError as error:
            return Outcome(Kind.PERMANENT_FAIL, error=str(error))
        try:
            headers = self._headers(work, request)
        except CannotStart as error:
            return Outcome(Kind.NOT_STARTED, error=str(error))
        details = {} if self._target is not None else {"url": request.url.without_query()}
        return await self._send(request, headers, details)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()

    def _request(self, work: WorkerJob) -> HTTPRequest:
        if self._target is not None:
            return HTTPRequest("POST", self._target, work.body)
        request = read_request(work.body)
        if not any(request.url.under(allowed) for allowed in self._allow):
            raise ValueError(f"{request.url.without_query()} is under no URL that allow names")
        return request

    def _headers(self, work: WorkerJob, request: HTTPRequest) -> dict[str, str]:
        headers = dict(request.headers)
        names = {name.lower() for name in headers}
        # A compressed body could not be shown in the log.
        own = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if self._target is not None or request.body:
            own["Content-Type"] = self._content_type
        headers.update((name, text) for name, text in own.items() if name.lower() not in names)
        if self._sqsd:
            headers = {name: text for name, text in headers.items() if fold(name) != "user-agent"}
        headers.update(job_headers(work, self._sqsd, _now()))
        if self._auth is not None:
            headers["Authorization"] = self._auth.header()
        return headers

    async def _send(
        self, request: HTTPRequest, headers: Mapping[str, str], details: Mapping[str, object]
    ) -> Outcome:
        from .client import HTTPClient, Refused, Unreachable

        if self._client is None:
            named = None if self._target is not None else self._named
            self._client = HTTPClient(named, self._keep_alive)
        try:
            response = await self._client.send(request, headers)
        except asyncio.CancelledError:
            # Not raised, so that the log gets the details. The slot knows why it cancelled.
            return Outcome(Kind.TEMPORARY_FAIL, error="no response had come yet", details=details)
        except Refused as error:
            return Outcome(Kind.PERMANENT_FAIL, error=str(error), details=details)
        except Unreachable as error:
            return Outcome(Kind.TEMPORARY_FAIL, error=str(error), details=details)
        return outcome_of_response(response, self._successes, _now(), details)


def _now() -> datetime:
    return datetime.now(timezone.utc)
