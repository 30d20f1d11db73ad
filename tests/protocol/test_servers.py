"""Lists of servers: names, URLs and weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import InvalidArgument
from beanstalkt.protocol.address import Address
from beanstalkt.protocol.servers import (
    Server,
    called,
    known_as,
    parse_job_id,
    parse_servers,
    servers_of,
    urls_of,
)


def test_a_list_has_names_urls_and_weights() -> None:
    assert parse_servers("a=beanstalk://h b=beanstalks://h:1?weight=3,unix:///run/b.sock") == (
        Server("a", Address("h")),
        Server("b", Address("h", 1, tls=True), 3),
        Server("b.sock", Address(path="/run/b.sock")),
    )


def test_without_a_name_a_server_is_called_by_its_address() -> None:
    found = servers_of(["beanstalk://h:1", "beanstalk://[::1]", "unix:///a%20b"])
    assert [server.name for server in found] == ["h:1", "[::1]:11300", "a_b"]


def test_a_server_is_called_by_its_name_or_else_by_its_url() -> None:
    assert called("beanstalk://h:1") == "beanstalk://h:1"
    assert called("a=beanstalk://h") == "a"
    assert called("a=beanstalk://h b=beanstalk://g?weight=2 beanstalk://i") == "a b i:11300"
    assert urls_of("a=beanstalk://h b=beanstalk://g?weight=2") == {
        "a": "beanstalk://h:11300",
        "b": "beanstalk://g:11300",
    }
    assert urls_of("unix:///run/b") == {"unix:///run/b": "unix:///run/b"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("h:1", ("h:1", "beanstalk://h:1")),
        ("beanstalk://h", ("beanstalk://h", "beanstalk://h:11300", "h:11300")),
        ("unix:///run/b.sock", ("unix:///run/b.sock", "b.sock")),
        ("a:b:c", ("a:b:c",)),
        ("http://h", ("http://h",)),
        ("", ("",)),
    ],
)
def test_without_a_name_it_may_be_called_in_two_ways(text: str, names: tuple[str, ...]) -> None:
    assert known_as(text) == names


def test_names_may_be_given_apart() -> None:
    assert servers_of({"x": "beanstalk://h?weight=0"}) == (Server("x", Address("h"), 0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no server"),
        ("a=", "must begin with beanstalk://"),
        ("a/b=beanstalk://h", "bad name of a server 'a/b'"),
        ("=beanstalk://h", "bad name"),
        ("beanstalk://h beanstalk://h", "two servers are called 'h:11300'"),
        ("a=beanstalk://h?weight=-1", "weight must be from 0 to 1000"),
        ("a=beanstalk://h?weight=1001", "weight must be from 0 to 1000"),
        ("a=beanstalk://h?weight=", "not a whole number"),
        ("a=beanstalk://h?size=1", "leave out what follows"),
    ],
)
def test_what_is_no_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message.replace("(", r"\(")):
        parse_servers(text)


@pytest.mark.parametrize("given", [7, None, [7], {"a": 7}])
def test_other_types_are_refused(given: object) -> None:
    with pytest.raises(InvalidArgument):
        servers_of(given)  # type: ignore[arg-type]


@given(st.from_regex(r"[A-Za-z0-9_.:+-]{1,20}", fullmatch=True), st.integers(0, 1000))
def test_what_is_written_can_be_read(name: str, weight: int) -> None:
    server = Server(name, Address("h", 2), weight)
    assert parse_servers(str(server)) == (server,)


def test_an_id_names_its_server() -> None:
    assert parse_job_id("a/17") == ("a", 17)


@pytest.mark.parametrize("text", ["17", "/17", "a/", "a/x", "a/-1", "a/1_0", "", 17, None, b"a/1"])
def test_what_is_no_id_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_job_id(text)  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        name, number = parse_job_id(text)
    except InvalidArgument:
        return
    assert name
    assert 0 <= number < 2**64
