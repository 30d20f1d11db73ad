"""The options of a Worker: what a program may give, and what that means."""

from __future__ import annotations

import functools
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import AsyncMock

import pytest
import tornado.gen
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import InvalidArgument, Worker
from beanstalkt.worker import WorkerJob
from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.config.options import COMMON
from beanstalkt.worker.config.settings import TubeSettings
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, Action, Policy, Verb
from beanstalkt.worker.policy.retry import Backoff


async def handle(job: WorkerJob) -> None:
    """Do nothing."""


class Integer:
    """A number of a library of its own."""

    def __index__(self) -> int:
        return 7


def settings(**options: Any) -> TubeSettings:
    worker = Worker("beanstalk://localhost", "mail", handle, **options)
    return worker._runner._settings.tubes[0]


def test_the_defaults_are_those_of_the_configuration() -> None:
    mine = settings()
    flags = Flags(tubes=["mail"], options={"command": "cat"})
    other = load(flags, {}, (CommandHandler,)).tubes[0]
    for name in ("tube", "workers", "timeout", "kill_grace", "policy", "exclude"):
        assert getattr(mine, name) == getattr(other, name)


def test_every_option_of_the_configuration_is_an_argument() -> None:
    default = {option.name: None for option in COMMON if option.name != "workers"}
    assert settings(**default) == settings()


def test_numbers_of_every_type() -> None:
    mine = settings(
        concurrency=Integer(),
        timeout=Decimal("1.5"),
        kill_grace=Fraction(1, 2),
        max_attempts=0,
        delay=Integer(),
        max_delay=9,
    )
    assert (mine.workers, mine.timeout, mine.kill_grace) == (7, 1.5, 0.5)
    assert type(mine.timeout) is float
    assert mine.policy == Policy(max_attempts=0, backoff=Backoff(7, False, 9))


def test_actions() -> None:
    policy = settings(
        on_timeout="bury",
        on_temporary_fail="release:9",
        on_permanent_fail=DELETE,
        on_unknown_fail=RELEASE,
        backoff="exponential",
    ).policy
    assert (policy.on_timeout, policy.on_permanent_fail) == (BURY, DELETE)
    assert (policy.on_temporary_fail, policy.on_unknown_fail) == (
        Action(Verb.RELEASE, 9),
        RELEASE,
    )
    assert policy.backoff.exponential


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout: more than 0 seconds are expected, not 0"),
        (
            {"timeout": "30"},
            "timeout: a number of seconds is expected, such as 90, 5m or 1h30m, not '30'",
        ),
        ({"timeout": True}, "timeout: a number of seconds"),
        ({"timeout": float("nan")}, "timeout: a number of seconds"),
        ({"timeout": 10**400}, "timeout: a number of seconds"),
        ({"kill_grace": -0.1}, "kill_grace: a number of seconds"),
        ({"kill_grace": []}, "kill_grace: a number of seconds"),
        ({"max_attempts": 1.5}, "max_attempts: a whole number from 0 to 4294967295 is expected"),
        ({"max_attempts": "3"}, "max_attempts: a whole number"),
        ({"max_attempts": False}, "max_attempts: a whole number"),
        ({"concurrency": 10_001}, "concurrency: a whole number from 1 to 10000 is expected"),
        ({"max_jobs": 2.0}, "max_jobs: a whole number"),
        ({"delay": 2**32}, "delay: a whole number"),
        ({"max_delay": -1}, "max_delay: a whole number"),
        ({"backoff": "often"}, "backoff: one of fixed, exponential is expected, not 'often'"),
        ({"backoff": []}, "backoff: one of fixed, exponential"),
        ({"on_timeout": 7}, "on_timeout: bury, delete, release"),
        ({"on_unknown_fail": "release:-1"}, "on_unknown_fail: bury, delete, release"),
        ({"tube": None}, "tube: a tube name must be a str"),
        ({"tube": "a b"}, r"^tube: bad tube name 'a b': [^']*'-'$"),
        (
            {"workers": 3},
            "workers is not an option; the options are concurrency, burst, .*, timing$",
        ),
        ({"burst": "yes"}, "burst must be True or False, not 'yes'"),
        ({"burst": 1}, "burst must be True or False, not 1"),
        ({"connect_timeout": "x"}, "connect_timeout must be a number of seconds"),
        ({"connect_timeout": True}, "connect_timeout must be a number of seconds"),
        ({"connect_timeout": -1}, "connect_timeout must be a number of seconds"),
        ({"observers": 3}, "observers must be a list .* not 3"),
        ({"observers": [3]}, "observers must be a list .* not "),
        ({"observers": "log"}, "observers must be a list .* not 'log'"),
        ({"timing": 3}, "timing must be None or a WorkerTiming, not 3"),
        ({"timing": 0}, "timing must be None or a WorkerTiming, not 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    arguments = {"server": "beanstalk://x", "tube": "mail", "handler": handle, **options}
    with pytest.raises(InvalidArgument, match=message):
        Worker(**arguments)


async def takes_nothing() -> None:
    pass


async def takes_two(job: WorkerJob, other: object) -> None:
    pass


async def takes_a_keyword(job: WorkerJob, *, other: object) -> None:
    pass


class TakesNothing:
    async def __call__(self) -> None:
        pass


@pytest.mark.parametrize(
    "handler",
    [
        takes_nothing,
        takes_two,
        takes_a_keyword,
        TakesNothing(),
        functools.partial(takes_two),
    ],
)
def test_a_handler_that_cannot_be_called_with_a_job(handler: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"called with the job alone, .* does not allow: "):
        Worker("beanstalk://x", "mail", handler)


def with_one_more(function: Any) -> Any:
    """Decorate a function that takes an argument more than what it becomes."""

    @functools.wraps(function)
    async def wrapper(*given: object) -> None:
        await function(*given, None)

    return wrapper


class Handles:
    async def __call__(self, job: WorkerJob, retries: int = 3) -> None:
        pass

    async def method(self, *jobs: WorkerJob) -> None:
        pass


@pytest.mark.parametrize(
    "handler",
    [
        with_one_more(takes_two),
        functools.partial(takes_two, other=None),
        Handles(),
        Handles().method,
        AsyncMock(),
        tornado.gen.coroutine(lambda job: None),
    ],
)
def test_a_handler_that_can_be_called_with_a_job(handler: Any) -> None:
    Worker("beanstalk://x", "mail", handler)


def test_nothing_stands_for_each_option() -> None:
    Worker("beanstalk://x", "mail", handle, observers=None, burst=None, timing=None)  # type: ignore[arg-type]


def test_wrong_names_of_options_are_seen_by_a_type_checker() -> None:
    with pytest.raises(InvalidArgument):
        # Without the error of mypy that is ignored here, mypy would complain.
        Worker("beanstalk://x", "mail", handle, workers=3)  # type: ignore[arg-type]


@given(
    st.dictionaries(
        st.sampled_from([option.name for option in COMMON if option.name != "workers"]),
        st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.booleans(), st.none()),
    )
)
def test_any_options_make_right_settings_or_a_clear_error(options: dict[str, Any]) -> None:
    refused = ""
    try:
        mine = settings(**options)
    except InvalidArgument as error:
        refused = str(error)
    if refused:
        assert refused.startswith(tuple(f"{name}: " for name in options))
    else:
        assert mine.timeout is None or mine.timeout > 0
        assert mine.kill_grace >= 0
        assert mine.policy.max_attempts >= 0


def plain(job: object) -> None:
    """A handler that nothing can await."""


async def good(job: object) -> None:
    """A handler as it should be."""


class Plain:
    def __call__(self, job: object) -> None:
        """Return at once."""


class Good:
    async def __call__(self, job: object) -> None:
        """Return when it is awaited."""

    async def method(self, job: object) -> None:
        """Do the same."""


@tornado.gen.coroutine
def old(job: object) -> Any:
    yield


PLAIN: list[Any] = [plain, Plain(), Plain, functools.partial(plain), lambda job: None, print, None]


@pytest.mark.parametrize("handler", PLAIN, ids=range(len(PLAIN)))
def test_a_plain_function_is_refused_with_what_to_do(handler: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"async def.*work --call"):
        Worker("beanstalk://localhost", "tube", handler)


@pytest.mark.parametrize(
    "handler",
    [good, Good(), Good().method, functools.partial(good), functools.partial(Good()), old],
)
def test_whatever_can_be_awaited_is_a_handler(handler: Any) -> None:
    Worker("beanstalk://localhost", "tube", handler)
