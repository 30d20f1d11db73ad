"""URLs that a job may name: one reading of each, and no way out of a prefix."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from beanstalkt.worker.handlers.http.url import HTTPURL, MAX_LENGTH, read_host, read_prefix

NORMAL = {
    "https://app.example.com": "https://app.example.com/",
    "HTTPS://App.Example.COM/Tasks": "https://app.example.com/Tasks",
    "https://app.example.com./x": "https://app.example.com/x",
    "https://app.example.com:443/x": "https://app.example.com/x",
    "https://app.example.com:0443/x": "https://app.example.com/x",
    "http://app.example.com:443/x": "http://app.example.com:443/x",
    "http://app.example.com:80": "http://app.example.com/",
    "http://h?a=1": "http://h/?a=1",
    "http://h/?": "http://h/?",
    "http://h/%74asks/%7e%2D%2e5": "http://h/tasks/~-.5",
    "http://h/a%c3%a9": "http://h/a%C3%A9",
    "http://h/aé?é": "http://h/a%C3%A9?%C3%A9",
    "http://h/a|b{}": "http://h/a%7Cb%7B%7D",
    "http://h/p?ids[]=1&b=%5b&c=..": "http://h/p?ids%5B%5D=1&b=%5B&c=..",
    "http://h/a//b": "http://h/a//b",
    "http://h/...": "http://h/...",
    "http://h/a;b=1": "http://h/a;b=1",
    "http://h/100%25": "http://h/100%25",
    "http://h/a:b@c": "http://h/a:b@c",
    "http://BÜCHER.example/": "http://xn--bcher-kva.example/",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://\uff41pp\u3002example/": "http://app.example/",
    "http://[::1]:8000/": "http://[::1]:8000/",
    "http://[0:0:0:0:0:0:0:1]/": "http://[::1]/",
    "http://[2001:DB8::A]/": "http://[2001:db8::a]/",
    "http://127.0.0.1:80/": "http://127.0.0.1/",
    "http://a_b/": "http://a_b/",
}


@pytest.mark.parametrize(("text", "normal"), NORMAL.items())
def test_a_url_is_written_in_one_form(text: str, normal: str) -> None:
    assert str(HTTPURL.parse(text)) == normal
    assert str(HTTPURL.parse(normal)) == normal


REFUSED = {
    "no URL": ["", "app.example.com/x", "//h/x", "/x", "http:/h", "http:h", "https//h", "x"],
    "another scheme": ["ftp://h/", "file:///etc/passwd", "gopher://h/", "unix:///x", "ws://h/"],
    "not the name of a host": ["http://", "http:///x", "http://:80/", "http://./", "http://?x"],
    "a user": ["http://u@h/", "http://u:p@h/", "http://@h/", "http://h@evil/", "http://h%40evil/"],
    "no port": ["http://h:/", "http://h:0/", "http://h:65536/", "http://h:99999999/"],
    "not a port": ["http://h:80a/", "http://h:-1/", "http://h:8 0/", "http://h:+80/"],
    "not digits": ["http://h:\uff18/", "http://h:1:2/"],
    "control characters": ["http://h/a\r\nHost: x", "http://h/\0", "http://h\t/", "\nhttp://h/"],
    "spaces": [" http://h/", "http://h/ ", "http://h/a b", "http://h/\xa0", "http://h/?a b"],
    "a backslash": ["http://h\\@evil/", "http://h/\\x", "http://h/a?\\", "http:\\\\h/"],
    "encoded backslash": ["http://h/%5c", "http://h/%5C..", "http://h/%255c"],
    "encoded slash": ["http://h/a%2fb", "http://h/a%2Fb", "http://h/a%252fb"],
    "encoded control": ["http://h/%00", "http://h/%0d%0aX", "http://h/%7f", "http://h/%250a"],
    "dots": ["http://h/..", "http://h/a/../b", "http://h/.", "http://h/a/./b", "http://h/a/.."],
    "encoded dots": ["http://h/%2e%2e/x", "http://h/.%2E/x", "http://h/%2e", "http://h/a/%252e./"],
    "dots before a parameter": ["http://h/a/..;/b", "http://h/a/..;x=1/b", "http://h/..%3b/b"],
    "encoded again and again": ["http://h/%252525252e", "http://h/%" + "25" * 2000],
    "a broken percent": [
        "http://h/%",
        "http://h/%2",
        "http://h/%zz",
        "http://h/?%g0",
        "http://h/%2é",
    ],
    "no UTF-8": ["http://h/%ff", "http://h/%c0%ae%c0%ae/x"],
    "a fragment": ["http://h/#", "http://h/#x", "http://h#@evil/", "http://h/?a#b"],
    "another form of an address": [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1.5/",
        "http://256.0.0.1/",
        "http://example.0x/",
    ],
    "no IPv6": ["http://[::1/", "http://::1/", "http://[]/", "http://[fe80::1%25eth0]/"],
    "more than IPv6": [
        "http://[::1]x/",
        "http://[fe80::1%eth0]/",
        "http://[v1.x]/",
        "http://a[::1]/",
    ],
    "no name": [
        "http://a..b/",
        "http://-a/",
        "http://a-/",
        "http://.a/",
        "http://a,b/",
        "http://*/",
    ],
    "too long": [f"http://{'a' * 64}/", f"http://{'a.' * 127}aa/", "http://h/" + "a" * MAX_LENGTH],
    "no name in other letters": [
        "http://" + "é" * 254 + "/",
        "http://a℀b/",
        "http://é..b/",
        "http://\u200d/",
        "http://é/\ud800",
    ],
}


@pytest.mark.parametrize("text", [text for texts in REFUSED.values() for text in texts])
def test_what_has_more_than_one_reading_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        HTTPURL.parse(text)
    assert not isinstance(caught.value, UnicodeError)


UNDER = [
    ("https://app.example.com/tasks", "https://app.example.com/tasks", True),
    ("https://app.example.com/tasks", "https://app.example.com/tasks/", True),
    ("https://app.example.com/tasks", "https://app.example.com/tasks?x=1", True),
    ("https://app.example.com/tasks", "https://app.example.com/tasks/a/b", True),
    ("https://app.example.com/tasks", "https://app.example.com/tasks-of-others", False),
    ("https://app.example.com/tasks/", "https://app.example.com/tasks", False),
    ("https://app.example.com/tasks/", "https://app.example.com/Tasks/x", False),
    ("https://app.example.com/tasks/", "HTTPS://APP.example.com.:443/%74asks/x", True),
    ("https://app.example.com/tasks/", "http://app.example.com/tasks/x", False),
    ("https://app.example.com/tasks/", "https://app.example.com:8443/tasks/x", False),
    ("https://app.example.com/tasks/", "https://app.example.com.evil.org/tasks/x", False),
    ("https://app.example.com/tasks/", "https://evil.org/https://app.example.com/tasks/", False),
    ("https://app.example.com", "https://app.example.com/anything", True),
    ("https://app.example.com", "https://app.example.common/", False),
    ("http://[::1]/", "http://[0::1]/x", True),
    ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", False),
    ("http://bücher.example/", "http://xn--bcher-kva.example/x", True),
]


@pytest.mark.parametrize(("allowed", "text", "expected"), UNDER)
def test_a_url_is_under_a_prefix(allowed: str, text: str, expected: bool) -> None:
    assert HTTPURL.parse(text).under(read_prefix(allowed)) is expected


def test_a_prefix_has_no_query() -> None:
    with pytest.raises(ValueError, match="query"):
        read_prefix("http://h/?a=1")


@pytest.mark.parametrize("host", ["localhost", "x.localhost", "127.0.0.1", "[::1]", "10.0.0.1"])
def test_some_hosts_say_themselves_where_they_lead(host: str) -> None:
    assert HTTPURL.parse(f"http://{host}/").names_private_host()


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "notlocalhost", "a1"])
def test_other_hosts_do_not(host: str) -> None:
    assert not HTTPURL.parse(f"http://{host}/").names_private_host()


def test_a_url_for_the_log_has_no_query() -> None:
    assert HTTPURL.parse("http://h/a?secret=1").without_query() == "http://h/a"


def test_hosts_are_read_in_the_same_way() -> None:
    assert read_host("App.Internal.") == "app.internal"
    with pytest.raises(ValueError, match="not the name of a host"):
        read_host("http://app/")


# --- whatever comes --------------------------------------------------------------------------

WORDS = ["http://", "https://", "evil.org", "tasks", "::1", "80", "..", "/..", "2e", "2f", "5c"]
PIECES = st.sampled_from([*"h/.;?#@:[]%\\é\u3002\0", "%2e", "%2F", "%5c", "%25", *WORDS])
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=10).map(lambda pieces: "http://h/tasks/" + "".join(pieces)),
    st.text(max_size=20).map(lambda text: "http://h/tasks/" + text),
)


def parsed(text: str) -> HTTPURL | None:
    try:
        return HTTPURL.parse(text)
    except UnicodeError:
        raise
    except ValueError:
        return None


@given(TEXTS)
def test_any_text_is_refused_or_has_a_form_that_stays(text: str) -> None:
    url = parsed(text)
    if url is not None:
        assert str(url).isascii()
        assert str(url).isprintable()
        assert " " not in str(url)
        assert HTTPURL.parse(str(url)) == url


@given(TEXTS)
def test_every_library_reads_the_same_host(text: str) -> None:
    """What is checked is what aiohttp connects to, and what anybody else would."""
    url = parsed(text)
    if url is not None:
        sent = URL(str(url), encoded=True)
        assert (sent.scheme, sent.raw_host, sent.port) == (url.scheme, url.host, url.port)
        assert sent.raw_path == url.path
        assert sent.user is sent.password is None
        split = urlsplit(str(url))
        assert (split.hostname, split.port or url.port) == (url.host, url.port)


@given(TEXTS)
def test_no_way_of_reading_it_leads_out_of_a_prefix(text: str) -> None:
    url = parsed(text)
    if url is None or not url.under(read_prefix("http://h/tasks/")):
        return
    path = url.path
    for _ in range(5):
        # A server that knows parameters, or takes a backslash for a slash.
        seen = "/".join(part.partition(";")[0] for part in path.replace("\\", "/").split("/"))
        for reading in (path.replace("\\", "/"), seen):
            assert (posixpath.normpath(reading) + "/").startswith("/tasks/")
        path = unquote(path)
