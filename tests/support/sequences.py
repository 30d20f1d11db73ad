"""Random things that clients send, good and bad, for the proof of the embedded server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import strategies as st

CONNECTIONS = 5


@dataclass(frozen=True)
class Send:
    """Commands on one connection, in one write, or cut anywhere."""

    connection: int
    commands: tuple[bytes, ...]
    #: where the bytes are cut, each a part of their length
    cuts: tuple[float, ...] = ()

    def __repr__(self) -> str:
        # A failure is of no use behind 65535 times the same letter.
        commands = re.sub(
            r"(?<!\\)(\w)\1{40,}",
            lambda run: f"' b'{run[1]}' * {len(run[0])} b'",
            repr(self.commands),
        )
        return f"Send({self.connection}, {commands}, {self.cuts})"


@dataclass(frozen=True)
class Close:
    """The connection is closed; the next step that uses it opens a new one."""

    connection: int


@dataclass(frozen=True)
class HalfClose:
    """The client's side is closed, and all that still comes is read."""

    connection: int


Step = Send | Close | HalfClose

# Times are 0, or so long that nothing falls due while a sequence runs; a ttr of 0 or 1 is always
# in its last second.
LONG = st.sampled_from([b"100", b"101", b"3600", b"4294967295"])
DELAY = st.sampled_from([b"0", b"0"]) | LONG
TTR = st.sampled_from([b"0", b"1"]) | LONG | LONG
PRIORITY = st.sampled_from([b"0", b"0", b"1", b"1023", b"1024", b"2147483648", b"4294967295"])
ID = st.integers(1, 9).map(b"%d".__mod__)
TUBE = st.sampled_from([b"default", b"a", b"a", b"a", b"b", b"c-1", b"1.5", b"x" * 200])

BAD_NUMBER = st.sampled_from(
    [
        b"",
        b" ",
        b"-1",
        b"+1",
        b"1.5",
        b"abc",
        b"1abc",
        b"007",
        b" 7",
        b"1 ",
        b"\t1",
        b"4294967296",
        b"18446744073709551615",
        b"18446744073709551616",
        b"9" * 60,
    ]
)
BAD_TUBE = st.sampled_from(
    [
        b"",
        b" ",
        b" a",
        b"a ",
        b"-a",
        b"a b",
        b"\xc3\xa4",
        b"x" * 201,
        b"a\n",
        b"a,",
        b'"a"',
        b"a\0",
    ]
)

BODY = st.binary(max_size=40).map(lambda body: body.replace(b"\0", b"0")) | st.sampled_from(
    [b"", b"\r\n", b"delete 1\r\n", b"put 0 0 100 1\r\n", b"y" * 300, b"z" * 65535]
)


def _line(*words: st.SearchStrategy[bytes] | bytes) -> st.SearchStrategy[bytes]:
    parts = [st.just(word) if isinstance(word, bytes) else word for word in words]
    return st.tuples(*parts).map(lambda words: b" ".join(words) + b"\r\n")


PUT = st.builds(
    lambda pri, delay, ttr, body: (
        b"put %b %b %b %d\r\n%b\r\n" % (pri, delay, ttr, len(body), body)
    ),
    PRIORITY,
    DELAY,
    TTR,
    BODY,
)

GOOD = st.one_of(
    PUT,
    PUT,
    PUT,
    PUT,
    _line(b"use", TUBE),
    _line(b"watch", TUBE),
    _line(b"watch", TUBE),
    _line(b"ignore", TUBE),
    _line(st.sampled_from([b"reserve", b"reserve-with-timeout 0", b"reserve-with-timeout 100"])),
    _line(b"reserve-with-timeout 0"),
    _line(b"reserve-with-timeout 0"),
    _line(b"reserve-job", ID),
    _line(b"delete", ID),
    _line(b"release", ID, PRIORITY, DELAY),
    _line(b"bury", ID, PRIORITY),
    _line(b"touch", ID),
    _line(b"kick", ID),
    _line(b"kick", st.sampled_from([b"4294967296", b"4294967297", b"-1", b"+2", b"2x"])),
    _line(b"kick-job", ID),
    _line(b"peek", ID),
    _line(st.sampled_from([b"peek-ready", b"peek-delayed", b"peek-buried"])),
    _line(b"pause-tube", TUBE, DELAY),
    _line(b"stats-job", ID),
    _line(b"stats-tube", TUBE),
    _line(st.sampled_from([b"stats", b"list-tubes", b"list-tube-used", b"list-tubes-watched"])),
)

BAD_PUT = st.one_of(
    # A number that is none, or too large: the body runs as commands.
    st.tuples(st.integers(0, 3), BAD_NUMBER, GOOD).map(
        lambda t: (
            b"put "
            + b" ".join([*[b"0", b"0", b"100", b"5"][: t[0]], t[1], *[b"1"] * (3 - t[0])])
            + b"\r\n"
            + t[2]
        )
    ),
    # A body that is longer or shorter than it should be.
    st.tuples(st.integers(0, 60), BODY).map(
        lambda t: b"put 0 0 100 %d\r\n%b\r\n" % (t[0], t[1][:300])
    ),
    # Too big a body, all of it, or only announced.
    st.integers(65530, 65540).map(lambda n: b"put 0 0 100 %d\r\n%b\r\n" % (n, b"b" * n)),
    st.sampled_from([b"put 0 0 100 67108864\r\n", b"put 0 0 100 65536 x\r\nshort\r\n"]),
)

NUMBERS = [
    b"delete",
    b"touch",
    b"peek",
    b"kick",
    b"kick-job",
    b"stats-job",
    b"reserve-job",
    b"reserve-with-timeout",
]
BAD = st.one_of(
    BAD_PUT,
    _line(st.sampled_from(NUMBERS), BAD_NUMBER),
    _line(st.sampled_from([b"use", b"watch", b"ignore", b"stats-tube"]), BAD_TUBE),
    _line(b"pause-tube", BAD_TUBE, b"100"),
    _line(b"pause-tube", TUBE, BAD_NUMBER),
    _line(b"release", ID, BAD_NUMBER, b"0"),
    _line(b"release", ID, b"0", BAD_NUMBER),
    _line(b"bury", ID, BAD_NUMBER),
    _line(b"bury", ID),
    # White space, case, words too many or too few, things run together.
    st.tuples(GOOD, st.sampled_from([b" ", b"  ", b"x", b" x", b"\t", b"\n", b"\0", b"\r"])).map(
        lambda t: t[0].replace(b"\r\n", t[1] + b"\r\n", 1)
    ),
    GOOD.map(lambda line: line.replace(b" ", b"", 1)),
    GOOD.map(lambda line: line.replace(b" ", b"  ", 1)),
    GOOD.map(bytes.upper),
    GOOD.map(lambda line: line.replace(b"\r\n", b"\n", 1)),
    st.sampled_from([*NUMBERS, b"put", b"use", b"", b" ", b"hello"]).map(lambda w: w + b"\r\n"),
    st.sampled_from([b"reservex", b"statsx", b"list-tubesx", b"peek-readyx", b"quit"]).map(
        lambda w: w + b"\r\n"
    ),
    # Lines about as long as a line may be, and windows of it.
    st.sampled_from([221, 222, 223, 224, 225, 226, 300, 446, 447, 448, 449, 700]).map(
        lambda n: b"l" * n + b"\r\n"
    ),
    st.integers(200, 460).map(lambda n: b"l" * n + b"\r" + b"l" * 30 + b"\r\n"),
    st.binary(max_size=300),
)

COMMAND = st.integers(0, 9).flatmap(lambda n: GOOD if n else BAD)
CONNECTION = st.integers(0, CONNECTIONS - 1)

SEND = st.builds(
    Send,
    CONNECTION,
    st.lists(COMMAND, min_size=1, max_size=5).map(tuple),
    st.lists(st.floats(0, 1), max_size=3).map(lambda cuts: tuple(sorted(cuts))),
)
ENDS: tuple[st.SearchStrategy[Step], ...] = (
    CONNECTION.map(Close),
    CONNECTION.map(HalfClose),
)
# Far more is said than ended.
STEP: st.SearchStrategy[Step] = st.integers(0, 14).flatmap(
    lambda n: ENDS[n] if n < len(ENDS) else SEND
)

# What random commands seldom come to: one that holds several jobs, and several that wait.
HOLD: st.SearchStrategy[list[Step]] = st.builds(
    lambda connection, puts: [
        Send(connection, (b"watch a\r\n", *puts)),
        Send(connection, (b"reserve-with-timeout 0\r\n",) * len(puts)),
    ],
    CONNECTION,
    st.lists(PUT, min_size=2, max_size=4),
)
WAIT: st.SearchStrategy[list[Step]] = st.permutations(range(CONNECTIONS)).map(
    lambda numbers: [
        Send(number, (b"watch a\r\n", b"reserve\r\n")) for number in numbers[: CONNECTIONS - 1]
    ]
)
BURY: st.SearchStrategy[list[Step]] = st.builds(
    lambda connection, jobs: [
        Send(connection, tuple(b"reserve-job %d\r\nbury %d %d\r\n" % (n, n, n) for n in jobs))
    ],
    CONNECTION,
    st.permutations(range(1, 7)),
)

SCENE: st.SearchStrategy[list[Step]] = st.integers(0, 19).flatmap(
    lambda n: (HOLD, HOLD, WAIT, BURY)[n] if n < 4 else STEP.map(lambda step: [step])
)

SEQUENCE = st.lists(SCENE, min_size=1, max_size=25).map(
    lambda scenes: [step for scene in scenes for step in scene]
)

AUDIT = Send(
    CONNECTIONS,
    (
        b"stats\r\n",
        b"list-tubes\r\n",
        *(b"stats-job %d\r\n" % number for number in range(1, 25)),
        *(b"stats-tube %b\r\n" % name for name in (b"default", b"a", b"b", b"c-1", b"1.5")),
    ),
)
"""Asks for all there is to know; on a connection of its own."""
