"""The tiny parser: every key has a type, whatever its value looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.protocol import stats
from beanstalkt.protocol.arguments import TUBE_NAME

TRAPS = [
    "007",
    "1.5",
    "null",
    "yes",
    "no",
    "true",
    "~",
    "1_000",
    "2020-01-01",
    "0x1F",
    "1e3",
    "-5",
]


@pytest.mark.parametrize("name", [name for name in TRAPS if name[0] != "-"])
def test_names_stay_names(name: str) -> None:
    for text in (name, f'"{name}"'):  # 1.13 quotes them, 1.12 does not
        assert stats.parse_tube(f"---\nname: {text}\n".encode()) == {"name": name}
        assert stats.parse_job(f"---\nid: 1\ntube: {text}\n".encode()) == {"id": 1, "tube": name}


@pytest.mark.parametrize("value", TRAPS)
@pytest.mark.parametrize("key", ["version", "id", "hostname", "os", "platform"])
def test_what_a_server_says_of_itself_stays_text(key: str, value: str) -> None:
    assert stats.parse_server(f"---\n{key}: {value}\n".encode()) == {key: value}


@given(st.lists(st.from_regex(TUBE_NAME, fullmatch=True) | st.sampled_from(TRAPS)))
def test_entries_of_lists_are_text(names: list[str]) -> None:
    data = "".join(["---\n", *(f"- {name}\n" for name in names)])
    assert stats.parse_list(data.encode()) == names


def test_an_operating_system_with_colons_and_signs() -> None:
    text = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.0: x # no comment: y"
    assert stats.parse_server(f'---\nos: "{text}"\n'.encode()) == {"os": text}
    assert stats.parse_server(f"---\nos: {text}\n".encode()) == {"os": text}


@given(st.integers())
def test_counters_are_whole_numbers_negative_ones_too(number: int) -> None:
    assert stats.parse_job(b"---\ntime-left: %d\n" % number) == {"time-left": number}


def test_times_of_the_processor_are_floats() -> None:
    found = stats.parse_server(b"---\nrusage-utime: 0.148125\nrusage-stime: 2\n")
    assert found == {"rusage-utime": 0.148125, "rusage-stime": 2.0}
    assert all(isinstance(value, float) for value in found.values())


def test_draining_is_true_or_false() -> None:
    assert stats.parse_server(b"---\ndraining: true\n") == {"draining": True}
    assert stats.parse_server(b"---\ndraining: false\n") == {"draining": False}


def test_the_id_of_a_job_is_a_number_and_that_of_a_server_is_not() -> None:
    assert stats.parse_job(b"---\nid: 12\n") == {"id": 12}
    assert stats.parse_server(b"---\nid: 12\n") == {"id": "12"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("five", "five"),
        ("007", "007"),
        ('"5"', "5"),
        ("1_0", "1_0"),
        ("", ""),
    ],
)
def test_unknown_keys_come_through(text: str, value: object) -> None:
    assert stats.parse_server(f"---\ncmd-new: {text}\nuptime: 1\n".encode()) == {
        "cmd-new": value,
        "uptime": 1,
    }


def test_empty_lists_and_dictionaries() -> None:
    assert stats.parse_list(b"---\n") == []
    assert stats.parse_server(b"---\n") == {}


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (stats.parse_list, b""),
        (stats.parse_list, b"- a\n"),
        (stats.parse_list, b"---\na: b\n"),
        (stats.parse_list, b"---\n- a\n\n- b\n"),
        (stats.parse_job, b""),
        (stats.parse_job, b"id: 1\n"),
        (stats.parse_job, b"---\n- a\n"),
        (stats.parse_job, b"---\nid\n"),
        (stats.parse_job, b"---\nid: x\n"),
        (stats.parse_job, b"---\nid: \n"),
        (stats.parse_server, b"---\nrusage-utime: fast\n"),
        (stats.parse_server, b"\xff\xfe"),
    ],
)
def test_anything_else_is_refused(parse: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        parse(data)


keys = st.sampled_from(["id", "pri", "tube", "state", "new-key", "a.b", "file"])
values = st.sampled_from([*TRAPS, "", "7", "a: b", '"a"', "1 ", "\u0663", "9" * 4301, "x\r", "-"])
dictionaries = st.lists(st.tuples(keys, values), max_size=4).flatmap(
    lambda pairs: st.sampled_from(
        [
            "---\n" + "".join(f"{key}: {value}\n" for key, value in pairs),
            "--- \n" + "\n".join(f"{key}: {value}" for key, value in pairs),
            "".join(f"{key}: {value}\n" for key, value in pairs),
        ]
    )
)


def parsed(parse: stats.Dictionary, text: str) -> object:
    try:
        return list(parse(text.encode()).items())
    except ValueError as error:
        return type(error)


@given(st.lists(dictionaries, max_size=6))
def test_what_was_read_before_changes_nothing(texts: list[str]) -> None:
    used = stats.Dictionary(stats.StatsJob)
    for text in [*texts, *texts]:
        assert parsed(used, text) == parsed(stats.Dictionary(stats.StatsJob), text)


def test_a_dictionary_of_many_keys_is_not_remembered() -> None:
    """To make a pattern of it would take longer than the server takes to send it."""
    parse = stats.Dictionary(stats.StatsJob)
    before = stats._pattern_of.cache_info().misses
    parse("".join(["---\n", *(f"key-{n}: {n}\n" for n in range(stats.MAX_KEYS + 1))]).encode())
    assert stats._pattern_of.cache_info().misses == before
