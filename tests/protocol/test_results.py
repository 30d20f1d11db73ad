"""The results of commands: what the words and the data of each successful reply stand for."""

from __future__ import annotations

import pytest

from beanstalkt.protocol.commands import COMMANDS

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
