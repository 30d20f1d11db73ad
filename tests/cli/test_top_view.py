"""What top shows, as lines, without a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin import Snapshot
from beanstalkt.admin.rates import Progression
from beanstalkt.cli.top_view import RESTART_SHOWN, Style, View
from beanstalkt.cli.tube_table import SORTABLE
from tests.support.readings import reading_of, stats_of, tube_of


class Server:
    """A server whose snapshots a test makes."""

    def __init__(self) -> None:
        self._progression = Progression("beanstalk://x")

    def up(
        self, clock: float, ready: dict[str, int], stats: dict[str, Any] | None = None
    ) -> Snapshot:
        tubes = {name: tube_of(current_jobs_ready=count) for name, count in ready.items()}
        return self._progression.up(reading_of(clock, tubes, stats_of(**(stats or {}))))

    def down(
        self, clock: float, error: str = "no connection to beanstalk://x: refused"
    ) -> Snapshot:
        return self._progression.down(error, 1e9 + clock, clock, 0)


def view_of(*snapshots: Snapshot) -> View:
    view = View()
    for snapshot in snapshots:
        view.take(snapshot)
    return view


def texts(view: View, width: int = 80, height: int = 24) -> list[str]:
    return [line.text for line in view.lines(width, height)]


def names(view: View, height: int = 24) -> list[str]:
    return [text.split()[0] for text in texts(view, height=height)[3:-1] if text]


def test_a_screen_is_filled_from_the_first_line_to_the_last() -> None:
    lines = texts(view_of(Server().up(0, {"b": 1, "a": 2})))
    assert len(lines) == 24
    assert "beanstalk://x: up -, beanstalkd" in lines[0]
    assert lines[2].startswith("TUBE READY")
    assert lines[-1].startswith("1-2 tubes | by ready | every 1 s | ? help | q quit")


def test_before_the_first_snapshot_there_is_a_screen_too() -> None:
    assert texts(View())[0] == "waiting for the server ..."


@pytest.mark.parametrize(
    ("typed", "found"),
    [("", "abc"), ("b", "b"), ("*", "abc"), ("[ab]", "ab"), ("?", "abc"), ("[", ""), ("x", "")],
)
def test_a_filter_is_a_part_of_a_name_or_a_pattern(typed: str, found: str) -> None:
    view = view_of(Server().up(0, {"a": 0, "b": 0, "c": 0}))
    view.filter = typed
    assert "".join(names(view)) == found


def test_a_filter_is_typed() -> None:
    view = view_of(Server().up(0, {"mail": 0, "news": 0}))
    view.typing = True
    for letter in "maxx":
        view.type(letter, letter)
    assert "filter: maxx_ | 0 tubes" in texts(view)[-1]
    view.type("backspace", "\x7f")
    view.type("backspace", None)
    view.type("up", None)
    view.type("ctrl+k", "\x0b")
    assert (names(view), view.typing) == (["mail"], True)
    view.type("", "il\nrm -rf")  # from the clipboard
    view.type("enter", "\r")
    assert (view.filter, view.typing) == ("mail", False)
    view.typing = True
    view.type("ctrl+u", "\x15")
    assert view.filter == ""
    view.type("", "x" * 1000)
    assert len(texts(view)[-1]) == 80
    view.type("escape", "\x1b")
    assert (view.filter, view.typing, len(names(view))) == ("", False, 2)


def test_sorting_goes_through_all_columns_and_round() -> None:
    view = view_of(Server().up(0, {"a": 1, "b": 2}))
    assert names(view) == ["b", "a"]
    view.backwards = True
    assert names(view) == ["a", "b"]
    seen = set()
    for _ in range(len(SORTABLE) - 1):
        view.sort_by_next(1)
        seen.add(view.sort)
        assert len(texts(view)) == 24
    assert seen == set(SORTABLE) - {"server"}
    view.sort_by_next(-1)
    assert view.sort == "name"


def test_scrolling_stops_at_the_ends() -> None:
    view = view_of(Server().up(0, {f"t{number:02}": 0 for number in range(30)}))
    view.sort = "name"
    view.scroll(3, 24)
    assert names(view)[0] == "t03"
    view.scroll(1000, 24)
    assert names(view)[-1] == "t29"
    assert "11-30 of 30 tubes" in texts(view)[-1]
    view.scroll(-1000, 24)
    assert names(view)[0] == "t00"


def test_a_list_that_becomes_shorter_is_scrolled_back() -> None:
    server = Server()
    view = view_of(server.up(0, {f"t{number:02}": 0 for number in range(30)}))
    view.scroll(1000, 24)
    view.take(server.up(1, {"t": 0}))
    assert names(view) == ["t"]


def test_a_paused_screen_stands_still_and_then_shows_the_newest() -> None:
    server = Server()
    view = view_of(server.up(0, {"a": 1}))
    view.pause()
    before = texts(view)
    assert before[-1].startswith("PAUSED")
    view.take(server.up(1, {"b": 1}))
    view.take(server.up(2, {"c": 1}))
    assert texts(view) == before
    view.pause()
    assert names(view) == ["c"]


def test_a_server_that_is_away_is_told_with_what_it_had() -> None:
    server = Server()
    view = view_of(server.up(0, {"a": 1}), server.down(7))
    lines = view.lines(80, 24)
    assert lines[0].text.endswith("is not available; below is what it had 7s ago")
    assert lines[1].text == "no connection: refused"
    assert {line.style for line in lines[:2]} == {Style.ALARM}
    assert (lines[3].text.split()[0], lines[3].style) == ("a", Style.OLD)


def test_a_restart_is_told_for_a_while_also_if_the_screen_was_paused() -> None:
    server = Server()
    view = view_of(server.up(0, {}))
    view.pause()
    view.take(server.up(1, {}, {"id": "b"}))
    view.take(server.up(2, {}, {"id": "b"}))
    view.pause()
    assert "restarted" in texts(view)[0]
    view.take(server.up(2 + RESTART_SHOWN, {}, {"id": "b"}))
    assert "restarted" not in texts(view)[0]


def test_only_tubes_with_notes_can_be_shown() -> None:
    view = view_of(Server().up(0, {"a": 1, "b": 0}, {"current_workers": 0}))
    view.noted_only = True
    assert names(view) == ["a"]
    assert "with notes" in texts(view)[-1]
    assert view.lines(80, 24)[3].style is Style.ALARM


def test_the_help_scrolls_where_it_does_not_fit() -> None:
    view = view_of(Server().up(0, {}))
    view.helping = True
    assert texts(view, height=10)[0].startswith("top:")
    view.first = 1000
    assert texts(view, height=10)[-1].startswith("  NOTES")


@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.lists(st.text(max_size=20), max_size=40, unique=True),
    st.sampled_from(["", "a", "*", "["]),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_screen_of_any_size_is_kept_within(
    width: int, height: int, tubes: list[str], typed: str, helping: bool, first: int
) -> None:
    view = view_of(Server().up(0, dict.fromkeys(tubes, 1)))
    view.filter, view.helping, view.first = typed, helping, first
    lines = texts(view, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)
