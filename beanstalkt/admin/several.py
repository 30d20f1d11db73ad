"""Carry out an operation on each of several servers, and add up the summaries.

Each server is known by its name and has a client of its own, as in the `clients` of a pool. When a
server is lost, or there is no connection to it, the operation goes on with the others; the error
that names the lost ones is raised at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument, UnexpectedResponse
from .progress import OnProgress, Progress, Summary

P = ParamSpec("P")

Clients = Mapping[str, Client]
"""Connected clients by the names of their servers."""

Operation = Callable[Concatenate[Client, P], Coroutine[Any, Any, Summary]]
"""Do something to the jobs of one server; takes `limit`, `summary` and `progress`."""

ForSeveral = Callable[Concatenate[Client | Clients, P], Coroutine[Any, Any, Summary]]
"""Do something to the jobs of one server, or of each of several; takes what `Operation` takes."""

LeaveOut = Callable[[Clients, Mapping[str, Any]], Awaitable[Mapping[str, str]]]
"""Return the names of servers whose jobs are left alone, and why, given all arguments by name."""

NOT_BEGUN = "not begun, because a job of another server was refused"


def on_each(
    action: str, *, leave_out: LeaveOut | None = None
) -> Callable[[Operation[P]], ForSeveral[P]]:
    """Return a decorator that has an operation take clients by name in place of one client.

    The servers are worked on at once; one after another where there is a limit, or where the
    operation is to stop at the first refusal. Cancelled, it ends between two jobs on each.

    :param action: what is done, in the past
    :param leave_out: tells which of several servers are left alone
    """

    def decorate(operation: Operation[P]) -> ForSeveral[P]:
        known = signature(operation)

        @wraps(operation)
        async def run(client: Client | Clients, *args: P.args, **options: P.kwargs) -> Summary:
            if not isinstance(client, Mapping):
                return await operation(client, *args, **options)
            bound = known.bind(client, *args, **options)
            bound.apply_defaults()
            given = bound.arguments
            summary: Summary = given["summary"] or Summary()
            prepare(summary, action, client)
            reasons = {} if leave_out is None else await leave_out(client, given)
            stops = given.get("on_error") == "stop"
            run = _Run(client, summary, given["progress"], given["limit"], reasons, stops=stops)

            async def run_one(name: str, **changed: Any) -> object:
                return await operation(client[name], *args, **{**options, **changed})

            await run.all(run_one)
            return summary

        run.__signature__ = known.replace(  # type: ignore[attr-defined]
            parameters=[
                each.replace(annotation="Client | Mapping[str, Client]") if place == 0 else each
                for place, each in enumerate(known.parameters.values())
            ]
        )
        wrapped: Any = run  # whose type has the name of its first parameter, too
        return wrapped  # type: ignore[no-any-return]

    return decorate


def prepare(summary: Summary, action: str, clients: Clients) -> None:
    """Make a summary one of several servers. Raises InvalidArgument if there is none."""
    if not clients:
        raise InvalidArgument("no server is given")
    summary.action = action
    summary.servers = {name: Summary(action=action) for name in clients}


class _Run:
    """One operation on several servers, which ends when it has ended on each."""

    def __init__(
        self,
        clients: Clients,
        summary: Summary,
        progress: OnProgress | None,
        limit: int | None,
        reasons: Mapping[str, str],
        *,
        stops: bool,
    ) -> None:
        self._names = [name for name in clients if name not in reasons]
        self._summary = summary
        self._limit = limit
        self._stops = stops  # at the first refusal, on all servers
        self._in_turn = stops or limit is not None
        self._progress = SharedProgress(progress, len(self._names), in_turn=self._in_turn)
        for name, reason in reasons.items():
            summary.servers[name].notes.append(reason)

    async def all(self, run_one: Callable[..., Awaitable[object]]) -> None:
        """Run the operation on each server. Raises the errors of all servers as one."""
        turn = asyncio.Semaphore(1 if self._in_turn else len(self._names) or 1)

        async def in_its_turn(name: str) -> None:
            own = self._summary.servers[name]
            try:
                async with turn:
                    if self._stops and self._summary.failed:
                        own.notes.append(NOT_BEGUN)
                        return
                    left = None if self._limit is None else self._limit - self._summary.done
                    told = self._progress.of(name)
                    await run_one(name, limit=left, summary=own, progress=told)
            except asyncio.CancelledError:
                own.interrupted = True
                raise
            finally:
                self._summary.add_up()
                self._progress.end(name)

        results = await asyncio.gather(*map(in_its_turn, self._names), return_exceptions=True)
        raise_all(
            {
                name: result
                for name, result in zip(self._names, results, strict=True)
                if isinstance(result, BaseException)
            }
        )


class SharedProgress:
    """Make the progress on each of several servers the progress of all.

    :param count: how many servers there are
    :param in_turn: whether one is worked on after another; then the progress is that on one of
        them, with its name, since how much there is to do on the next ones is not known
    """

    def __init__(self, progress: OnProgress | None, count: int, *, in_turn: bool) -> None:
        self._progress = progress
        self._count = count
        self._in_turn = in_turn
        self._began = time.monotonic()
        self._told: dict[str, Progress] = {}

    def of(self, name: str) -> OnProgress | None:
        """Return the callback for the progress on one server; None if there is none for all."""
        if self._progress is None:
            return None
        return lambda told: self._tell(name, told)

    def end(self, name: str) -> None:
        """Note that there will be no more progress on one server."""
        self._told.setdefault(name, Progress("", 0, 0, 0.0))

    def _tell(self, name: str, told: Progress) -> None:
        assert self._progress is not None
        self._told[name] = told
        jobs = sum(each.jobs for each in self._told.values())
        if self._in_turn:
            self._progress(replace(told, what=f"{name}: {told.what}", jobs=jobs))
            return
        totals = [each.total for each in self._told.values() if each.total is not None]
        self._progress(
            replace(
                told,
                done=sum(each.done for each in self._told.values()),
                # Of those that have not begun it is not known.
                total=sum(totals) if len(totals) == self._count else None,
                seconds=time.monotonic() - self._began,
                jobs=jobs,
                estimated=any(each.estimated for each in self._told.values()),
            )
        )


def raise_all(errors: Mapping[str, BaseException]) -> None:
    """Raise one error that names the servers which had errors; return if there is none.

    Raises ConnectionLost if any server was lost, and BeanstalkException else. InvalidArgument, and
    an error that is no BeanstalkException, is raised as it is, in place of all others.

    :param errors: the error of each server that has one, by the name of the server
    """
    for error in errors.values():
        if not isinstance(error, BeanstalkException) or isinstance(error, InvalidArgument):
            raise error
    if not errors:
        return
    by_text: dict[str, list[str]] = {}
    for name, error in errors.items():
        by_text.setdefault(str(error), []).append(name)
    text = "; ".join(f"{', '.join(names)}: {error}" for error, names in by_text.items())
    lost = [
        error
        for error in errors.values()
        if isinstance(error, (ConnectionLost, UnexpectedResponse))
    ]
    raised: BeanstalkException
    if lost:
        raised = ConnectionLost(text, sent=any(getattr(error, "sent", True) for error in lost))
    else:
        raised = BeanstalkException(text)
    if len(errors) == 1:
        (raised.server,) = errors
    raise raised from next(iter(errors.values()))
