"""The options that clients and pools have in common: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

import beanstalkt
from beanstalkt import InvalidArgument, blocking

SERVER = "beanstalk://localhost"

CLIENTS = [beanstalkt.Client.from_url, blocking.Client.from_url]
KINDS = [*CLIENTS, beanstalkt.Pool, blocking.Pool]
every_kind = pytest.mark.parametrize(
    "make", KINDS, ids=["client", "blocking-client", "pool", "blocking-pool"]
)

NO_NUMBERS = [float("nan"), "1", [1], True]


@every_kind
@pytest.mark.parametrize("bad", [0, -1, -0.5, None, *NO_NUMBERS])
@pytest.mark.parametrize("name", ["reconnect_delay", "max_reconnect_delay", "response_timeout"])
def test_a_time_must_be_above_0(make: Any, name: str, bad: object) -> None:
    if name == "max_reconnect_delay" and bad is None:
        return  # the other delay stands for it
    with pytest.raises(InvalidArgument, match=f"^{name} must be a number of seconds above 0, not"):
        make(SERVER, **{name: bad})


@every_kind
@pytest.mark.parametrize("bad", [-1, *NO_NUMBERS])
def test_the_time_to_connect_may_be_0_but_not_negative(make: Any, bad: object) -> None:
    make(SERVER, connect_timeout=0)
    with pytest.raises(
        InvalidArgument, match=r"^connect_timeout must be a number of seconds, 0 or"
    ):
        make(SERVER, connect_timeout=bad)


@every_kind
@pytest.mark.parametrize("bad", [0, 5, {}, "fast", {"pace": 1}])
def test_the_timing_must_be_one(make: Any, bad: object) -> None:
    with pytest.raises(InvalidArgument, match=r"^timing must be None or a .*Timing, not "):
        make(SERVER, timing=bad)


@every_kind
@pytest.mark.parametrize("url", [SERVER, "beanstalks://localhost"])
@pytest.mark.parametrize("bad", [True, {}, "tls"])
def test_the_options_of_tls_must_be_a_context(make: Any, url: str, bad: object) -> None:
    with pytest.raises(InvalidArgument, match=r"^ssl_options must be None or an ssl.SSLContext"):
        make(url, ssl_options=bad)


@pytest.mark.parametrize("bad", [5, 0, "loop"])
def test_the_loop_must_be_one_of_tornado(bad: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^io_loop must be None or a tornado.ioloop.IOLoop"):
        beanstalkt.Client(io_loop=bad)


@every_kind
def test_the_function_that_is_called_after_a_reconnect_must_be_one(make: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"callback must be a function"):
        make(SERVER).set_reconnect_callback("no function")


@every_kind
def test_an_option_that_there_is_not_is_no_option(make: Any) -> None:
    with pytest.raises(TypeError, match=r"colour"):
        make(SERVER, colour="red")


def test_a_wrong_option_of_from_url_is_an_error_for_mypy_as_well() -> None:
    with pytest.raises(TypeError, match="colour"):
        beanstalkt.Client.from_url(SERVER, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        blocking.Client.from_url(SERVER, colour="red")  # type: ignore[call-arg]
