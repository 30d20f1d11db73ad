"""The parser: the same replies however the bytes are split, and bounded memory."""

from __future__ import annotations

import re
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import errors
from beanstalkt.protocol.arguments import MAX_JOB_ID
from beanstalkt.protocol.parser import MAX_REPLY_BODY, MAX_REPLY_LINE, Parser, Reply

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
    found: list[Reply] = []
    for chunk in chunks:
        single = parser.single(chunk)
        found += parser.feed(chunk) if single is None else [single]
    return found


@given(st.lists(replies(), min_size=1, max_size=4))
def test_replies_are_the_same_at_every_split(pairs: list[tuple[bytes, Reply]]) -> None:
    data = b"".join(data for data, _ in pairs)
    expected = [reply for _, reply in pairs]
    assert parse(data) == expected
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == expected
    for split in range(1, len(data)):
        assert parse(data[:split], data[split:]) == expected


sizes = st.sampled_from([b"-2", b"-1", b"0", b"00", b"+1", b"1", b"2", b"1 ", b" ", b"x"])
endings = st.sampled_from(
    [b"", b"\r\n", b"\r\n\r\n", b"\r\na\r\n", b"\r\n\r\n\r\n", b"\n", b"\r\nab"]
)


@given(st.sampled_from([b"OK ", b"FOUND 7 ", b"RESERVED 7 ", b"USING ", b"OK"]), sizes, endings)
def test_the_fast_way_takes_nothing_that_the_slow_one_refuses(
    begin: bytes, size: bytes, ending: bytes
) -> None:
    chunk = begin + size + ending
    single = Parser().single(chunk)
    if single is not None:
        assert list(Parser().feed(chunk)) == [single]


@given(st.lists(replies(), min_size=1, max_size=8), st.data())
def test_replies_are_the_same_in_any_pieces(
    pairs: list[tuple[bytes, Reply]], data: st.DataObject
) -> None:
    text = b"".join(data for data, _ in pairs)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parse(*pieces) == [reply for _, reply in pairs]


large = st.integers(3000, 30000).map(
    lambda size: b"RESERVED 7 %d\r\n%b\r\n" % (size, b"\r" * size)
)


@given(large, st.data())
def test_a_large_body_is_the_same_in_any_pieces(text: bytes, data: st.DataObject) -> None:
    anywhere = st.integers(0, len(text))
    at_the_end = st.integers(len(text) - 4, len(text))
    cuts = sorted(data.draw(st.sets(anywhere | at_the_end, max_size=20)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parse(*pieces, b"DELETED\r\n") == [*parse(text), ([b"DELETED"], b"")]


@given(replies() | large.map(lambda text: (text, parse(text)[0])), st.data())
def test_the_parser_knows_how_many_bytes_are_missing(
    pair: tuple[bytes, Reply], data: st.DataObject
) -> None:
    text, reply = pair
    line = text.index(b"\r\n") + 2
    parser = Parser()
    assert parser.missing == 0
    # All but the last byte, in two pieces, either of which may be empty.
    cut = data.draw(st.integers(0, len(text) - 1))
    for end, piece in ((cut, text[:cut]), (len(text) - 1, text[cut:-1])):
        assert not list(parser.feed(piece))
        assert parser.missing == (len(text) - end if end >= line else 0)
    assert list(parser.feed(text[-1:])) == [reply]
    assert parser.missing == 0


def peak(pieces: list[bytes]) -> int:
    """The memory that the parser takes for these pieces and the replies, at its highest."""
    parser = Parser()
    tracemalloc.start()
    try:
        for piece in pieces:
            list(parser.feed(piece))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_body_is_copied_once() -> None:
    size = 2**23
    text = b"RESERVED 1 %d\r\n%b\r\n" % (size, bytes(size))
    assert peak([text[i : i + 2**16] for i in range(0, len(text), 2**16)]) < 1.1 * size


def test_a_large_body_in_tiny_pieces_takes_little_memory() -> None:
    """A list of the pieces themselves would take twenty times as much."""
    size = 2**18
    text = b"RESERVED 1 %d\r\n%b\r\n" % (size, bytes(size))
    assert peak([text[i : i + 2] for i in range(0, len(text), 2)]) < 3 * size


# --- many ids at once -----------------------------------------------------------------------

job_ids = st.integers(0, 99) | st.integers(0, MAX_JOB_ID)
inserted = job_ids.map(lambda job_id: b"INSERTED %d\r\n" % job_id)
other = st.sampled_from(
    [
        b"BURIED 7\r\n",
        b"DRAINING\r\n",
        b"DELETED\r\n",
        b"RESERVED 7 12\r\nINSERTED 1\r\n\r\n",
        b"OK 0\r\n\r\n",
        b"INSERTED\r\n",
        b"INSERTED \r\n",
        b"INSERTED 1 2\r\n",
        b"INSERTED  1\r\n",
        b"INSERTED +1\r\n",
        b"INSERTED -1\r\n",
        b"INSERTED 1_0\r\n",
        b"INSERTED 1\n\r\n",
        b"INSERTED \xb2\r\n",
        b"INSERTED 123456789012345678901\r\n",
        b"inserted 1\r\n",
        b"\r\n",
    ]
)
streams = st.lists(st.one_of(inserted, inserted, inserted, other), max_size=12).map(b"".join)


def in_bulk(limit: int, *chunks: bytes) -> list[Reply]:
    """The replies, with the ids at the beginning of each chunk taken at once, as put_many does."""
    parser = Parser()
    found: list[Reply] = []
    for chunk in chunks:
        rest, ids = chunk, [0]
        while ids:
            ids, rest = parser.inserted(rest, limit)
            assert len(ids) <= limit
            found += [([b"INSERTED", b"%d" % job_id], b"") for job_id in ids]
        found += parser.feed(rest)
    return found


@given(streams, st.integers(1, 5))
def test_ids_in_bulk_are_the_same_at_every_split(text: bytes, limit: int) -> None:
    expected = parse(text)
    assert in_bulk(limit, text) == expected
    assert in_bulk(limit, *(text[i : i + 1] for i in range(len(text)))) == expected
    for split in range(1, len(text)):
        assert in_bulk(limit, text[:split], text[split:]) == expected


@given(st.lists(job_ids, max_size=50), st.integers(0, 60), st.binary(max_size=40))
def test_as_many_ids_come_at_once_as_there_are_within_the_limit(
    ids: list[int], limit: int, tail: bytes
) -> None:
    text = b"".join(b"INSERTED %d\r\n" % job_id for job_id in ids) + b"?" + tail
    found, rest = Parser().inserted(text, limit)
    assert found == ids[:limit]
    assert rest == b"".join(b"INSERTED %d\r\n" % job_id for job_id in ids[limit:]) + b"?" + tail


@given(other, job_ids)
def test_nothing_else_is_taken_for_an_id(text: bytes, job_id: int) -> None:
    text += b"INSERTED %d\r\n" % job_id
    assert Parser().inserted(text, 9) == ([], text)


def test_the_first_id_may_have_come_in_part() -> None:
    parser = Parser()
    assert not list(parser.feed(b"INSERTED 12"))
    assert parser.inserted(b"3\r\nINSERTED 4\r\nINS", 9) == ([123, 4], b"INS")


def test_no_more_ids_are_taken_than_the_limit_however_short_they_are() -> None:
    assert Parser().inserted(b"INSERTED 1\r\n" * 9, 4) == ([1] * 4, b"INSERTED 1\r\n" * 5)


def test_as_many_ids_are_taken_as_the_limit_however_long_they_are() -> None:
    text = b"INSERTED %d\r\n" % MAX_JOB_ID
    assert Parser().inserted(text * 9, 4) == ([MAX_JOB_ID] * 4, text * 5)


def test_ids_within_the_data_of_a_reply_are_not_taken() -> None:
    parser = Parser()
    assert not list(parser.feed(b"RESERVED 7 14\r\n"))
    assert parser.inserted(b"INSERTED 1\r\n", 9) == ([], b"INSERTED 1\r\n")


# --- what cannot be replies -----------------------------------------------------------------


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


@given(st.integers(0, 30), st.integers(1, 40), st.sampled_from([b"", b"DEL", b"NOT_FOUND\r\n"]))
def test_the_same_reply_many_times_is_counted_up_to_a_limit(
    times: int, limit: int, rest: bytes
) -> None:
    line = b"DELETED\r\n"
    count, left = Parser().repeated(line * times + rest, line, limit)
    assert count == min(times, limit)
    assert left == line * (times - count) + rest


def test_a_repeated_reply_may_begin_in_an_earlier_chunk_and_data_is_none() -> None:
    parser = Parser()
    assert list(parser.feed(b"OK 3\r\nabc\r\nDEL")) == [([b"OK", b"3"], b"abc")]
    assert parser.repeated(b"ETED\r\nDELETED\r\nx", b"DELETED\r\n", 9) == (2, b"x")
    parser = Parser()
    assert list(parser.feed(b"OK 9\r\n")) == []
    assert parser.repeated(b"DELETED\r\n\r\n", b"DELETED\r\n", 9) == (0, b"DELETED\r\n\r\n")
    assert list(parser.feed(b"DELETED\r\n\r\n")) == [([b"OK", b"9"], b"DELETED\r\n")]
