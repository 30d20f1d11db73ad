"""The journal of an import: what a file of it tells, wherever it was cut off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beanstalkt.admin.journal import Journal, checksum_of
from beanstalkt.errors import InvalidArgument


def written(path: Path) -> bytes:
    """A journal of two batches, of which the second one is under way."""
    with Journal(path) as journal:
        journal.use("abc", "beanstalk://host:11300")
        journal.begin([1])
        journal.end([1], [], 7, [40])
        journal.begin(range(2, 11))
        journal.begin(range(11, 21))
        journal.end([2, 3, 5, 6, 7, 8, 9, 10], [4], 5, [45, 44, 49])
    return path.read_bytes()


def test_it_tells_what_is_done_refused_and_in_doubt(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    with Journal(tmp_path / "journal") as journal:
        assert (journal.server, journal.address) == ("abc", "beanstalk://host:11300")
        assert journal.first == (1, 7)
        assert journal.done.text() == "1-3, 5-10"
        assert journal.refused.text() == "4"
        assert journal.in_doubt.text() == "11-20"
        assert journal.last_line == 20
        assert journal.checksum == 12
        assert journal.last_id == 49
        assert journal.ids.text() == "44-45, 49"
        assert journal.after == 40  # the last id that was known when those lines were begun


def test_a_line_that_was_refused_and_went_in_later_is_done(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    with Journal(tmp_path / "journal") as journal:
        journal.begin([4])
        journal.end([4, *range(11, 21)], [], 0, [60])
        assert journal.after == 60
        assert not journal.ids  # those above `after` only
    with Journal(tmp_path / "journal") as journal:
        assert journal.done.text() == "1-20"
        assert not journal.refused
        assert not journal.in_doubt


def test_wherever_it_is_cut_off_nothing_is_done_that_was_not(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    path = tmp_path / "cut"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with Journal(path) as journal:
            assert set(journal.done) <= {1, 2, 3, 5, 6, 7, 8, 9, 10}
            known = set(journal.done) | set(journal.refused) | set(journal.in_doubt)
            # Whatever was begun before is known in one way or another.
            assert known == set(range(1, 1 + len(known)))
            lines = whole[:size].count(b"\n")
            assert len(known) == [0, 0, 0, 1, 1, 10, 20, 20][lines]
        # What was cut off does not spoil what is written after it.
        with Journal(path) as journal:
            journal.begin([99])
        with Journal(path) as journal:
            assert 99 in journal.in_doubt


@pytest.mark.parametrize(
    "text",
    [
        "some notes of mine",
        "some notes of mine\n",
        '{"tube": "a", "body": "b"}\n',
        '{"journal": "beanstalkt import", "version": 2}\n',
        '{"journal": "beanstalkt import", "version": 1}\n[]\n',
        '{"journal": "beanstalkt import", "version": 1}\n{"begin": "x", "after": 0}\n',
        '{"journal": "beanstalkt import", "version": 1}\n{"done": "1"}\n',
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match="not the journal of an import"):
        Journal(path)
    assert path.read_text() == text


def test_no_two_imports_use_it_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal"), pytest.raises(InvalidArgument, match="another import"):
        Journal(tmp_path / "journal")
    Journal(tmp_path / "journal").close()


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="plain file"):
        Journal("/dev/null")
    with pytest.raises(IsADirectoryError):
        Journal(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_said_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        before = path.read_bytes()
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        with pytest.raises(OSError, match="No space"):
            journal.begin([1])
        assert path.read_bytes() == before
        assert not journal.in_doubt


def test_a_checksum_is_that_of_a_line_at_its_place() -> None:
    assert checksum_of(b"a", 1) != checksum_of(b"a", 2)
    assert checksum_of(b"a", 1) != checksum_of(b"b", 1)
