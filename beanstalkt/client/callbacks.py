"""Callbacks, which programs that were written before ``await`` pass to each verb."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tornado.gen import BadYieldError, convert_yielded

from ..errors import InvalidArgument

Callback = Callable[..., Any]


def check_callback(callback: object) -> None:
    """Raise InvalidArgument unless `callback` can be called, or is None."""
    if callback is not None and not callable(callback):
        raise InvalidArgument(
            f"callback must be a function or None, not {callback!r:.100}: give other arguments "
            'by name, such as tube="mail"'
        )


def call_with_result(future: asyncio.Future[Any], callback: Callback) -> None:
    """Call back with one argument: the result, or the exception as a value.

    Raises InvalidArgument for a callback that cannot be called.
    """
    check_callback(callback)

    def settled(future: asyncio.Future[Any]) -> None:
        outcome = _outcome(future)
        call(future.get_loop(), callback, outcome)
        if isinstance(outcome, (KeyboardInterrupt, SystemExit)):
            raise outcome  # as out of a task that awaits it: it is to end the loop

    future.add_done_callback(settled)


def call_when_done(future: asyncio.Future[None], callback: Callback) -> None:
    """Call back without an argument on success, with the exception otherwise."""

    def settled(future: asyncio.Future[None]) -> None:
        outcome = _outcome(future)
        call(future.get_loop(), callback, *([] if outcome is None else [outcome]))

    future.add_done_callback(settled)


def call(loop: asyncio.AbstractEventLoop, callback: Callback, *values: object) -> None:
    """Call now; report what it raises, or what the coroutine that it returns raises."""
    try:
        result = callback(*values)
        if result is not None:
            future = convert_yielded(result)
            future.add_done_callback(lambda future: future.cancelled() or future.result())
    except BadYieldError:
        pass  # returned something, as a lambda does
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # CancelledError too: it is no cancellation of the caller
        loop.call_exception_handler(
            {"message": f"Exception in callback {callback!r}", "exception": error}
        )


def _outcome(future: asyncio.Future[Any]) -> Any:
    if future.cancelled():
        return asyncio.CancelledError()
    return future.exception() or future.result()
