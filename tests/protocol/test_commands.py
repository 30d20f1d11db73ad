"""The table of commands, what replies mean, and the parser, without a loop."""

from __future__ import annotations

import re
import tracemalloc
from array import array
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import errors
from beanstalkt.protocol.commands import (
    COMMANDS,
    MAX_COMMAND_LINE,
    MAX_JOB_ID,
    MAX_NUMBER,
    MAX_REPLY_BODY,
    MAX_REPLY_LINE,
    MAX_TIMEOUT,
    TUBE_NAME,
    Command,
    Number,
    Parser,
    Reply,
    TubeName,
    check_body,
    encode_put,
    refusal,
)

tube_names = st.from_regex(TUBE_NAME, fullmatch=True)


# --- arguments ------------------------------------------------------------------------------


def largest(command: Command) -> list[object]:
    """The longest value of each argument."""
    return [each.limit if isinstance(each, Number) else "t" * 200 for each in command.arguments]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_longest_line_of_every_command_fits(command: Command) -> None:
    line = command.encode(*largest(command))
    assert line.startswith(command.verb.encode())
    assert line.endswith(b"\r\n")
    assert line.count(b"\r\n") == 1
    assert len(line) <= MAX_COMMAND_LINE


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_argument_of_every_command_is_checked(command: Command) -> None:
    for position, argument in enumerate(command.arguments):
        bad: list[object] = [None, True, 1.0, b"7", [], object()]
        if isinstance(argument, Number):
            bad += ["7", -1, argument.limit + 1, 10**5000]
        else:
            bad += [7, "", "-a", "a b", "a\r\n", "a\n", "t" * 201, "tübe", "a\0", "t" * 10**6]
        for value in bad:
            values = largest(command)
            values[position] = value
            with pytest.raises(errors.InvalidArgument):
                command.encode(*values)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_number_of_arguments_is_checked(command: Command) -> None:
    with pytest.raises(ValueError, match=r"zip|argument"):
        command.encode(*largest(command), 1)


def test_limits_are_those_of_the_protocol() -> None:
    limits = {
        argument.name: argument.limit
        for command in COMMANDS.values()
        for argument in command.arguments
        if isinstance(argument, Number)
    }
    assert limits == {
        "priority": MAX_NUMBER,
        "delay": MAX_NUMBER,
        "ttr": MAX_NUMBER,
        "size of the body": MAX_NUMBER,
        "bound": MAX_NUMBER,
        "timeout": MAX_TIMEOUT,
        "job id": MAX_JOB_ID,
    }


@given(tube_names)
def test_good_tube_names_pass(name: str) -> None:
    assert TubeName().check(name) == name.encode()


@given(st.text(max_size=210).filter(lambda text: not TUBE_NAME.fullmatch(text)))
def test_other_tube_names_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        TubeName().check(name)


@pytest.mark.parametrize("name", ["a", "t" * 200, "a-", "+", ";.$_()/", "007", "null", "1.5"])
def test_tube_names_at_the_edge(name: str) -> None:
    assert TubeName().check(name) == name.encode()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"", b""),
        (b"a\r\nb\0", b"a\r\nb\0"),
        ("", b""),
        ("grüße", "grüße".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (memoryview(b"abcd")[::2], b"ac"),
        (array("B", [1, 2]), b"\1\2"),
    ],
)
def test_bodies_are_bytes_like_or_str(given: object, sent: bytes) -> None:
    body = check_body(given)
    assert type(body) is bytes
    assert body == sent


@pytest.mark.parametrize("body", [None, 5, 1.5, True, ["a"], {"a": 1}, object(), "\ud800"])
def test_other_bodies_are_refused(body: object) -> None:
    with pytest.raises(errors.InvalidArgument):
        check_body(body)


def test_a_body_that_is_changed_later_was_copied() -> None:
    given = bytearray(b"before")
    body = check_body(given)
    given[:] = b"after!"
    assert body == b"before"


@given(
    st.integers(0, MAX_NUMBER), st.integers(0, MAX_NUMBER), st.integers(0, MAX_NUMBER), st.binary()
)
def test_put(priority: int, delay: int, ttr: int, body: bytes) -> None:
    expected = f"put {priority} {delay} {ttr} {len(body)}\r\n".encode() + body + b"\r\n"
    assert encode_put(priority, delay, ttr, body) == expected


@pytest.mark.parametrize(
    "bad", [-1, 2**32, True, 1.0, "1", None, pytest.param(1 << 20000, id="huge")]
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_put_refuses_bad_numbers(bad: Any, position: int) -> None:
    numbers: list[Any] = [1, 2, 3]
    numbers[position] = bad
    priority, delay, ttr = numbers
    with pytest.raises(errors.InvalidArgument):
        encode_put(priority, delay, ttr, b"body")


class Whole(int):
    """An int of another type, as an enumeration is."""


def test_put_takes_every_kind_of_int() -> None:
    assert encode_put(Whole(1), Whole(2), Whole(3), b"x") == b"put 1 2 3 1\r\nx\r\n"


# --- what a reply means ---------------------------------------------------------------------

KINDS = {
    b"NOT_FOUND": errors.NotFound,
    b"NOT_IGNORED": errors.NotIgnored,
    b"JOB_TOO_BIG": errors.JobTooBig,
    b"DRAINING": errors.Draining,
    b"OUT_OF_MEMORY": errors.OutOfMemory,
    b"BAD_FORMAT": errors.BadFormat,
    b"EXPECTED_CRLF": errors.ExpectedCrlf,
    b"INTERNAL_ERROR": errors.InternalError,
    b"UNKNOWN_COMMAND": errors.UnknownCommand,
    b"BURIED": errors.Buried,
    b"TIMED_OUT": errors.TimedOut,
    b"DEADLINE_SOON": errors.DeadlineSoon,
}
EVERYWHERE = {b"OUT_OF_MEMORY", b"INTERNAL_ERROR", b"BAD_FORMAT", b"UNKNOWN_COMMAND"}
REFUSALS = {
    "put": {b"BURIED", b"EXPECTED_CRLF", b"JOB_TOO_BIG", b"DRAINING"},
    "reserve": {b"TIMED_OUT", b"DEADLINE_SOON"},
    "reserve-with-timeout": {b"TIMED_OUT", b"DEADLINE_SOON"},
    "reserve-job": {b"NOT_FOUND"},
    "delete": {b"NOT_FOUND"},
    "release": {b"NOT_FOUND", b"BURIED"},
    "bury": {b"NOT_FOUND"},
    "touch": {b"NOT_FOUND"},
    "ignore": {b"NOT_IGNORED"},
    "peek": {b"NOT_FOUND"},
    "peek-ready": {b"NOT_FOUND"},
    "peek-delayed": {b"NOT_FOUND"},
    "peek-buried": {b"NOT_FOUND"},
    "kick-job": {b"NOT_FOUND"},
    "stats-job": {b"NOT_FOUND"},
    "stats-tube": {b"NOT_FOUND"},
    "pause-tube": {b"NOT_FOUND"},
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("status", [*KINDS, b"INSERTED", b"WATCHING", b"OK", b"", b"not_found"])
def test_what_every_status_means_to_every_command(command: Command, status: bytes) -> None:
    if status == command.success:
        return
    error = refusal(command, [status])
    if status in EVERYWHERE | REFUSALS.get(command.verb, set()):
        assert type(error) is KINDS[status]
    else:
        assert type(error) is errors.UnexpectedResponse
    assert error.command == command.verb
    assert error.status == status.decode()
    assert error.values == ()
    assert command.verb in str(error)


def test_buried_tells_the_job() -> None:
    error = refusal(COMMANDS["put"], [b"BURIED", b"17"])
    assert isinstance(error, errors.Buried)
    assert error.job_id == 17
    assert error.values == ("17",)


SUCCESSES: list[tuple[str, list[bytes], bytes, object]] = [
    ("put", [b"INSERTED", b"7"], b"", 7),
    ("use", [b"USING", b"a"], b"", "a"),
    ("reserve", [b"RESERVED", b"7", b"2"], b"ab", (7, b"ab")),
    ("reserve-with-timeout", [b"RESERVED", b"7", b"0"], b"", (7, b"")),
    ("reserve-job", [b"RESERVED", b"7", b"2"], b"ab", (7, b"ab")),
    ("delete", [b"DELETED"], b"", None),
    ("release", [b"RELEASED"], b"", None),
    ("bury", [b"BURIED"], b"", None),
    ("touch", [b"TOUCHED"], b"", None),
    ("watch", [b"WATCHING", b"2"], b"", 2),
    ("ignore", [b"WATCHING", b"1"], b"", 1),
    ("peek", [b"FOUND", b"7", b"2"], b"ab", (7, b"ab")),
    ("peek-ready", [b"FOUND", b"7", b"2"], b"ab", (7, b"ab")),
    ("peek-delayed", [b"FOUND", b"7", b"2"], b"ab", (7, b"ab")),
    ("peek-buried", [b"FOUND", b"7", b"2"], b"ab", (7, b"ab")),
    ("kick", [b"KICKED", b"3"], b"", 3),
    ("kick-job", [b"KICKED"], b"", None),
    ("stats-job", [b"OK", b"9"], b"---\nid: 5\n", {"id": 5}),
    ("stats-tube", [b"OK", b"9"], b"---\nname: 5\n", {"name": "5"}),
    ("stats", [b"OK", b"9"], b"---\nid: 5\n", {"id": "5"}),
    ("list-tubes", [b"OK", b"9"], b"---\n- 5\n", ["5"]),
    ("list-tube-used", [b"USING", b"a"], b"", "a"),
    ("list-tubes-watched", [b"OK", b"9"], b"---\n- 5\n", ["5"]),
    ("pause-tube", [b"PAUSED"], b"", None),
]


def test_every_command_has_a_success_below() -> None:
    assert [verb for verb, *_ in SUCCESSES] == list(COMMANDS)


@pytest.mark.parametrize(("verb", "words", "data", "result"), SUCCESSES, ids=COMMANDS)
def test_what_the_success_gives(
    verb: str, words: list[bytes], data: bytes, result: object
) -> None:
    command = COMMANDS[verb]
    assert words[0] == command.success
    assert command.read(words, data) == result


@pytest.mark.parametrize(("verb", "words", "data", "result"), SUCCESSES, ids=COMMANDS)
def test_words_that_do_not_fit_are_refused(
    verb: str, words: list[bytes], data: bytes, result: object
) -> None:
    wrong = [[*words, b"1"], words[:-1] if len(words) > 1 else [*words, b""]]
    if isinstance(result, (int, tuple)):
        wrong += [[words[0], b"-1", *words[2:]], [words[0], b"x", *words[2:]]]
    for each in wrong:
        with pytest.raises(ValueError):  # noqa: PT011 - of any kind
            COMMANDS[verb].read(each, data)


# --- the parser -----------------------------------------------------------------------------

bodies = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r", b"INSERTED 1\r\n"])
word = st.sampled_from([b"INSERTED", b"DELETED", b"7", b"USING", b"default", b"NOT_FOUND"])


@st.composite
def replies(draw: st.DrawFn) -> tuple[bytes, Reply]:
    """What a server sends, and what it stands for."""
    if draw(st.booleans()):
        words = draw(st.lists(word, min_size=1, max_size=4))
        return b" ".join(words) + b"\r\n", (words, b"")
    body = draw(bodies)
    status = draw(st.sampled_from([[b"RESERVED", b"7"], [b"FOUND", b"8"], [b"OK"]]))
    words = [*status, str(len(body)).encode()]
    return b" ".join(words) + b"\r\n" + body + b"\r\n", (words, body)


def parse(*chunks: bytes) -> list[Reply]:
    parser = Parser()
    return [reply for chunk in chunks for reply in parser.feed(chunk)]


@given(st.lists(replies(), min_size=1, max_size=4))
def test_replies_are_the_same_at_every_split(pairs: list[tuple[bytes, Reply]]) -> None:
    data = b"".join(data for data, _ in pairs)
    expected = [reply for _, reply in pairs]
    assert parse(data) == expected
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == expected
    for split in range(1, len(data)):
        assert parse(data[:split], data[split:]) == expected


@given(st.lists(replies(), min_size=1, max_size=8), st.data())
def test_replies_are_the_same_in_any_pieces(
    pairs: list[tuple[bytes, Reply]], data: st.DataObject
) -> None:
    text = b"".join(data for data, _ in pairs)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parse(*pieces) == [reply for _, reply in pairs]


def outcome(*chunks: bytes) -> tuple[list[Reply], bool]:
    """The replies up to the first error, and whether there was one."""
    parser = Parser()
    found: list[Reply] = []
    try:
        for chunk in chunks:
            found.extend(parser.feed(chunk))
    except errors.UnexpectedResponse:
        return found, True
    return found, False


@pytest.mark.parametrize("line", [b"x" * 1024, b"x" * 1023 + b"\r", b"\r" * 1024])
def test_the_longest_line_is_taken_at_every_split(line: bytes) -> None:
    data = b"DELETED\r\n" + line + b"\r\n"
    expected = [([b"DELETED"], b""), ([line], b"")], False
    assert outcome(data) == expected
    assert outcome(*(data[i : i + 1] for i in range(len(data)))) == expected
    for split in range(1, len(data)):
        assert outcome(data[:split], data[split:]) == expected


@given(
    st.lists(st.integers(1020, 1028), min_size=1, max_size=3),
    st.sampled_from([b"x", b"\r", b"x\r"]),
    st.data(),
)
def test_a_line_near_the_limit_means_the_same_in_any_pieces(
    lengths: list[int], letters: bytes, data: st.DataObject
) -> None:
    text = b"".join((letters * length)[:length] + b"\r\n" for length in lengths)
    ends = [m.end() for m in re.finditer(rb"\n", text)]
    near = st.sampled_from([max(0, end - back) for end in ends for back in range(6)])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)) | near)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert outcome(*pieces) == outcome(text)
    assert outcome(*(text[i : i + 1] for i in range(len(text)))) == outcome(text)


@given(st.binary(max_size=300))
def test_garbage_gives_replies_or_a_clear_error(data: bytes) -> None:
    with suppress(errors.UnexpectedResponse):
        assert all(words for words, _ in parse(data))


def grown(chunks: int, chunk: bytes, first: bytes = b"") -> tuple[errors.UnexpectedResponse, int]:
    """The error that feeding this ends in, and the memory that it took."""
    parser = Parser()

    def feed() -> None:
        list(parser.feed(first))
        for _ in range(chunks):
            list(parser.feed(chunk))

    tracemalloc.start()
    try:
        with pytest.raises(errors.UnexpectedResponse) as caught:
            feed()
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chunk", [b"x", b"x" * 65536, b"INSERTED ", b"\r", b"\n", b"\0" * 1000])
def test_an_endless_line_is_an_error_and_takes_no_memory(chunk: bytes) -> None:
    error, memory = grown(MAX_REPLY_LINE + 2, chunk)
    assert "line" in str(error)
    assert memory < 2**20


@pytest.mark.parametrize("size", [b"99999999999", b"%d" % (MAX_REPLY_BODY + 1), b"9" * 500])
@pytest.mark.parametrize("status", [b"RESERVED 1 ", b"FOUND 1 ", b"OK "])
def test_too_much_data_is_refused_when_it_is_announced(status: bytes, size: bytes) -> None:
    error, memory = grown(0, b"", status + size + b"\r\n")
    assert memory < 2**20
    assert error.status is not None


@pytest.mark.parametrize("line", [b"OK", b"OK x", b"OK -1", b"OK +1", b"OK ", b"RESERVED 1 1.5"])
def test_data_without_a_size_is_an_error(line: bytes) -> None:
    with pytest.raises(errors.UnexpectedResponse):
        parse(line + b"\r\n")


@pytest.mark.parametrize("end", [b"xx", b"\n\r", b"\rx", b"RESERVED"])
def test_data_that_does_not_end_where_it_says_is_an_error(end: bytes) -> None:
    for chunks in ([b"OK 3\r\nabc" + end], [b"OK 3\r\nab", b"c" + end[:1], end[1:]]):
        with pytest.raises(errors.UnexpectedResponse, match="end"):
            parse(*chunks)


def test_what_was_whole_comes_before_the_error() -> None:
    parser = Parser()
    feed = iter(parser.feed(b"INSERTED 1\r\nOK x\r\n"))
    assert next(feed) == ([b"INSERTED", b"1"], b"")
    with pytest.raises(errors.UnexpectedResponse):
        next(feed)


def test_a_large_body_in_small_pieces_takes_no_time_to_speak_of() -> None:
    body = bytes(range(256)) * 4 * 1024 * 8  # 8 MiB
    data = b"RESERVED 1 %d\r\n%b\r\n" % (len(body), body)
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    assert parse(*pieces, b"DELETED\r\n") == [
        ([b"RESERVED", b"1", b"%d" % len(body)], body),
        ([b"DELETED"], b""),
    ]
