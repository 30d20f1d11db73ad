"""Ctrl-C ends a coroutine in order, and a second one ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from beanstalkt.cli.running import run_interruptible


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def in_a_moment(call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(call)


def test_a_coroutine_ends_by_itself() -> None:
    async def returns() -> int:
        await asyncio.sleep(0)
        return 7

    async def raises() -> None:
        raise OSError("no")

    async def is_cancelled() -> None:
        raise asyncio.CancelledError

    assert run_interruptible(returns()) == 7
    with pytest.raises(OSError, match="no"):
        run_interruptible(raises())
    with pytest.raises(asyncio.CancelledError):
        run_interruptible(is_cancelled())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_cancels_what_is_awaited() -> None:
    seen: list[str] = []

    async def waits() -> None:
        in_a_moment(interrupt)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # there is time to end in order
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(waits())
    assert seen == ["cancelled"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_dealt_with_is_no_error() -> None:
    async def says_so() -> str:
        in_a_moment(interrupt)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "interrupted"
        return "not interrupted"

    assert run_interruptible(says_so()) == "interrupted"


def test_a_second_interrupt_does_not_wait() -> None:
    async def goes_on() -> None:
        in_a_moment(interrupt)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if seen:
                    raise
                seen.append("once")
                in_a_moment(interrupt)

    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(goes_on())
    assert seen == ["once"]


def test_another_handler_stays() -> None:
    got: list[int] = []

    async def waits() -> None:
        interrupt()
        await asyncio.sleep(0)

    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        run_interruptible(waits())
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == [signal.SIGINT]
