"""Where a server listens, as a URL says it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beanstalkt import Client, InvalidArgument, blocking
from beanstalkt.protocol.address import DEFAULT_PORT, LONGEST_PATH, Address

hosts = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,5})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ports = st.integers(1, 2**16 - 1)
# What the file system takes.
paths = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=26
).map(lambda name: f"/{name}")
# A name is bytes; in Python a str with a stand-in for each that is no UTF-8.
file_names = (
    st.binary(min_size=1, max_size=26)
    .filter(lambda name: b"\0" not in name)
    .map(lambda name: os.fsdecode(b"/" + name))
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("beanstalk://localhost", Address("localhost", 11300)),
        ("beanstalk://localhost:", Address("localhost", 11300)),
        ("beanstalk://localhost/", Address("localhost", 11300)),
        ("beanstalk://queue.example:1234", Address("queue.example", 1234)),
        ("beanstalks://queue.example", Address("queue.example", 11300, tls=True)),
        ("beanstalk://[::1]", Address("::1", 11300)),
        ("beanstalks://[::1]:1234", Address("::1", 1234, tls=True)),
        ("unix:///run/beanstalkd.sock", Address(path="/run/beanstalkd.sock")),
        ("unix:///with%20space", Address(path="/with space")),
    ],
)
def test_what_a_url_says(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@given(host=hosts, port=ports, tls=st.booleans())
def test_an_address_prints_as_its_url(host: str, port: int, tls: bool) -> None:
    address = Address(host, port, tls=tls)
    assert Address.parse(str(address)) == address


@given(path=paths | file_names)
@example("/a b%20c?d#e\n\t\r;é")
@example("//a")
@example("/\udcff")  # a byte that is no UTF-8
def test_a_unix_socket_prints_as_its_url(path: str) -> None:
    address = Address(path=path)
    assert str(address).isascii()
    assert str(address).isprintable()
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:11300",
        "127.0.0.1:11300",
        "http://localhost",
        "beanstalk:localhost",
        "beanstalk://",
        "beanstalk://:11300",
        "beanstalk://localhost:port",
        "beanstalk://localhost:0",
        "beanstalk://localhost:65536",
        "beanstalk://localhost:-1",
        "beanstalk://localhost:11300/tube",
        "beanstalk://localhost?tube=x",
        "beanstalk://localhost#x",
        "beanstalk://user@localhost",
        "beanstalk://user:password@localhost",
        "beanstalk://[::1",
        "beanstalk://::1",
        "beanstalk://a..b",
        "beanstalk://" + "a" * 64,
        "unix://",
        "unix:///",
        "unix://relative",
        "unix:///path?x",
        "unix:///with%00nul",
        "unix:///half a character\ud800",
    ],
)
def test_a_url_that_says_nothing_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        Client.from_url(url)


@given(url=st.text() | st.text().map("beanstalk://".__add__) | st.text().map("unix://".__add__))
def test_any_text_gives_an_address_or_is_refused(url: str) -> None:
    try:
        address = Address.parse(url)
    except InvalidArgument:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("localhost:11300", "beanstalk://localhost:11300"),
        ("localhost", "beanstalk://localhost"),
        ("[::1]:11300", "beanstalk://[::1]:11300"),
        ("/run/socket", "unix:///run/socket"),
        ("localhost:99999", None),
        ("http://localhost", None),
        ("", None),
    ],
)
def test_the_url_that_was_meant_is_suggested(url: str, meant: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Client.from_url(url)
    suggested = str(caught.value).partition("unix:///")[2]
    assert suggested == ("" if meant is None else f", such as {meant!r}")


@pytest.mark.parametrize("url", [None, b"beanstalk://localhost", 11300])
def test_a_url_is_a_str(url: object) -> None:
    with pytest.raises(InvalidArgument):
        Client.from_url(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "",
        None,
        b"localhost",
        7,
        "a..b",
        "a" * 64,
        "nul\0",
        "local host",
        " localhost",
        "localhost\n",
        "a\tb",
        "a\u3000b",
        "\x7f",
        "a,b",
        "a=b",
        "me@host",
        "host?x",
        "a" * 100_000,
    ],
)
def test_a_bad_host_is_refused(host: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Client(host)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("port", [0, -1, 2**16, "11300", True, 1.5, None])
def test_a_bad_port_is_refused(port: object) -> None:
    with pytest.raises(InvalidArgument):
        Client("localhost", port)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["", "nul\0", b"/path", 7, Path("nul\0")])
def test_a_bad_path_is_refused(path: object) -> None:
    with pytest.raises(InvalidArgument):
        Client(unix_path=path)  # type: ignore[arg-type]


def test_a_path_is_no_longer_than_the_system_takes() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        with pytest.raises(FileNotFoundError):
            sock.connect("é" + "x" * (LONGEST_PATH - 2))
        with pytest.raises(OSError, match="too long"):
            sock.connect("é" + "x" * (LONGEST_PATH - 1))
    Client(unix_path="é" + "x" * (LONGEST_PATH - 2))
    with pytest.raises(InvalidArgument, match=rf"{LONGEST_PATH} bytes at the most"):
        Client(unix_path="é" + "x" * (LONGEST_PATH - 1))
    with pytest.raises(InvalidArgument, match="at the most"):
        Client.from_url("unix:///" + "x" * 100_000)


def test_a_path_may_be_a_path() -> None:
    for kind in (Client, blocking.Client):
        assert kind(unix_path=Path("/run/beanstalkd")).address.path == "/run/beanstalkd"


def test_a_client_has_the_default_port() -> None:
    assert Client().address == Address("localhost", DEFAULT_PORT)
    assert DEFAULT_PORT == 11300


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("localhost:11300", "beanstalk://localhost:11300"),
        ("beanstalk://localhost:11300", "beanstalk://localhost:11300"),
        ("beanstalks://queue", "beanstalks://queue"),
        ("[::1]", "beanstalk://[::1]"),
        ("[::1]:11300", "beanstalk://[::1]:11300"),
        ("/run/beanstalkd.sock", "unix:///run/beanstalkd.sock"),
        ("unix:///run/beanstalkd.sock", "unix:///run/beanstalkd.sock"),
    ],
)
def test_a_url_or_a_port_in_the_host_is_refused_with_the_name_of_from_url(
    host: str, meant: str
) -> None:
    with pytest.raises(InvalidArgument, match="from_url") as caught:
        Client(host)
    assert repr(meant) in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["::1::", "http://foo", "unix:/x", "localhost:99999", "a/b", "http://" + "a." * 50_000, ":"],
)
def test_no_url_is_suggested_that_would_be_refused_as_well(host: str) -> None:
    with pytest.raises(InvalidArgument, match="name or an IP address without a port") as caught:
        Client(host)
    said = str(caught.value)
    assert "from_url" not in said
    assert len(said) < 400


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "::ffff:127.0.0.1", "127.0.0.1", "a-b.c"])
def test_every_kind_of_host_is_taken(host: str) -> None:
    assert Client(host).address.host == host
