"""What a job may say of its request, and what every request says of its job."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beanstalkt.worker.handlers.http.request import METHODS, HTTPRequest, job_headers, read_request
from beanstalkt.worker.handlers.http.url import HTTPURL

from ....support.work import COUNTERS, make_work

URL = "https://app.example.com/tasks/mail"
NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


def job(**changes: Any) -> bytes:
    return json.dumps({"url": URL, **changes}).encode()


def test_only_the_url_is_needed() -> None:
    assert read_request(job()) == HTTPRequest("POST", HTTPURL.parse(URL), b"", {}, 60.0)


def test_a_job_says_everything_else() -> None:
    request = read_request(
        job(http_method="put", body="héllo", timeout_secs=1.5, headers={"X-Order": "7"})
    )
    assert request == HTTPRequest(
        "PUT", HTTPURL.parse(URL), "héllo".encode(), {"X-Order": "7"}, timeout=1.5
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_are_read_in_either_case(method: str) -> None:
    assert read_request(job(http_method=method.lower())).method == method


WRONG: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"\xff\xfe\xff", "not JSON"),
    (b"POST " + URL.encode(), "not JSON"),
    (b"[" * 60_000, "not JSON"),
    (b'{"url": "x", "timeout_secs": ' + b"9" * 60_000 + b"}", "not JSON|timeout_secs"),
    (b"[]", "an array, not an object"),
    (b"null", "null, not an object"),
    (b'"x"', "a string, not an object"),
    (b"{}", "url is missing"),
    (job(url=None), "url is null, not a string"),
    (job(url=["x"]), "url is an array"),
    (job(url=""), "url: .* is expected"),
    (job(url="ftp://x/"), "url: .*http"),
    (job(url=URL + "\r\nX: y"), "url: .*control"),
    (job(url="https://user:secret@app.example.com/"), "url: .*user or password"),
    (job(http_method="CONNECT"), "http_method: 'CONNECT' is none of"),
    (job(http_method="TRACE"), "http_method"),
    (job(http_method="GET / HTTP/1.1\r\nX: y\r\n"), "http_method"),
    (job(http_method=""), "http_method"),
    (job(http_method=5), "http_method is a number"),
    (job(body={"a": 1}), "body is an object, not a string"),
    (job(body=None), "body is null"),
    (job(body="\ud800"), "half a character"),
    (job(timeout_secs="5"), "timeout_secs is a string"),
    (job(timeout_secs=True), "timeout_secs is a boolean"),
    (job(timeout_secs=None), "timeout_secs is null"),
    (job(timeout_secs=0), "more than 0"),
    (job(timeout_secs=-1), "more than 0"),
    (job(timeout_secs=float("nan")), "more than 0"),
    (job(timeout_secs=float("inf")), "at most"),
    (job(timeout_secs=10**30), "at most"),
    (job(timeout=5), "'timeout' is none of"),
    (job(headers=[]), "headers is an array, not an object"),
    (job(headers=None), "headers is null"),
    (job(headers={"X": 1}), "X is a number, not a string"),
    (job(headers={"X": "a\r\nY: b"}), "printable ASCII"),
    (job(headers={"X": "a\nb"}), "printable ASCII"),
    (job(headers={"X": "a\0"}), "printable ASCII"),
    (job(headers={"X": "é"}), "printable ASCII"),
    (job(headers={"": "x"}), "not the name of a header"),
    (job(headers={"X Y": "x"}), "not the name of a header"),
    (job(headers={"X:": "x"}), "not the name of a header"),
    (job(headers={"X\r\nY": "x"}), "not the name of a header"),
    (job(headers={"É": "x"}), "not the name of a header"),
    (job(headers={"X-A": "x", "x-a": "y"}), "x-a is there twice"),
]


@pytest.mark.parametrize(("body", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_job_that_says_nonsense_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_request(body)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Cookie",
        "X-Beanstalkt-Job-Id",
        "X-Aws-Sqsd-Msgid",
    ],
)
def test_some_headers_are_not_the_job_s_to_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"cannot set {name}"):
        read_request(job(headers={name: "x"}))


RESERVED = [
    "Connection",
    "Content-Length",
    "Expect",
    "Host",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Authorization",
    "Cookie",
    "Cookie2",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Anything",
    *job_headers(make_work(), True, NOW),
]
RESERVED.remove("User-Agent")

disguises = st.builds(
    lambda name, case, dash, before, after: (
        before
        + "".join(c.upper() if up else c.lower() for c, up in zip(name, case, strict=False))
        + name[len(case) :]
        + after
    ).replace("-", dash),
    st.sampled_from(RESERVED),
    st.lists(st.booleans(), max_size=40),
    st.text("-_.~!#$%&'*+^`|", min_size=1, max_size=2),
    st.text("-_.", max_size=2),
    st.text("-_.", max_size=2),
)


@given(disguises)
@example("X_Beanstalkt_Job_Id")
@example("X_Aws_Sqsd_Msgid")
@example("Content_Length")
@example("Transfer_Encoding")
@example("Proxy")
@example("Host_")
@example("x-beanstalkt")
def test_nor_one_that_a_server_may_take_for_such(name: str) -> None:
    with pytest.raises(ValueError, match="cannot set"):
        read_request(job(headers={name: "x"}))


@pytest.mark.parametrize(
    "name", ["X-Order", "X_Order", "Hostname", "X-Host", "Proxied", "Te-St", "X-Beanstalktish"]
)
def test_all_others_are(name: str) -> None:
    assert read_request(job(headers={name: "x"})).headers == {name: "x"}


def test_what_is_said_of_an_url_does_not_repeat_a_password() -> None:
    with pytest.raises(ValueError, match="user") as caught:
        read_request(job(url="https://user:secret@app.example.com/"))
    assert "secret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
JOBS = st.fixed_dictionaries(
    {"url": st.just(URL) | JSON},
    optional={
        "http_method": st.sampled_from(["get", "POST"]) | JSON,
        "body": st.text() | JSON,
        "timeout_secs": st.floats() | JSON,
        "headers": st.dictionaries(st.text(max_size=5), st.text(max_size=5)) | JSON,
    },
)


@given(st.binary() | JOBS.map(lambda said: json.dumps(said).encode()))
def test_any_body_is_a_request_or_a_reason(body: bytes) -> None:
    try:
        request = read_request(body)
    except UnicodeError:
        raise
    except ValueError:
        return
    assert request.method in METHODS
    assert request.timeout is not None
    assert request.timeout > 0
    for name, text in request.headers.items():
        assert re.fullmatch("[!-~]+", name)
        assert re.fullmatch("[\t -~]*", text)


def test_every_request_says_what_its_job_is() -> None:
    assert job_headers(make_work(), False, NOW) == {
        "X-Beanstalkt-Job-Id": "7",
        "X-Beanstalkt-Tube": "mail",
        "X-Beanstalkt-Attempt": "2",
        "X-Beanstalkt-Reserves": "2",
        "X-Beanstalkt-Timeouts": "1",
        "X-Beanstalkt-Age": "3",
        "X-Beanstalkt-Ttr": "60",
    }


def test_a_request_of_the_outbox_says_which_row_it_comes_from() -> None:
    headers = job_headers(make_work(outbox_id=12), False, NOW)
    assert headers["X-Beanstalkt-Outbox-Id"] == "12"
    body = b'{"outbox_id":12,"url":"http://example.com/"}'
    assert read_request(body) == read_request(b'{"url":"http://example.com/"}')


def test_the_daemon_s_headers_are_added() -> None:
    plain = job_headers(make_work(), False, NOW)
    both = job_headers(make_work(), True, NOW)
    assert both == {
        **plain,
        "User-Agent": "aws-sqsd/2.0",
        "X-Aws-Sqsd-Msgid": "7",
        "X-Aws-Sqsd-Queue": "mail",
        "X-Aws-Sqsd-First-Received-At": "2024-05-01T11:59:57Z",
        "X-Aws-Sqsd-Receive-Count": "2",
    }


def test_a_job_with_no_age_has_headers_too() -> None:
    counters = {key: value for key, value in COUNTERS.items() if key != "age"}
    headers = job_headers(make_work(counters=counters), True, NOW)
    assert headers["X-Beanstalkt-Age"] == ""
    assert headers["X-Aws-Sqsd-First-Received-At"] == "2024-05-01T12:00:00Z"
