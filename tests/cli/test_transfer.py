"""The verbs that take jobs elsewhere: what they print, and their exit statuses."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from beanstalkt.cmd import main

from ..support.clients import client_of
from ..support.embedded import AnyServer, Embedded
from ..support.population import Kind, kind, populate, population, same

T = TypeVar("T")
Captured = pytest.CaptureFixture[bytes]

KINDS = [
    kind(b"\xff\r\n", "buried", "a", 2**32 - 1),
    kind("ä".encode(), "ready", "a", 0),
    kind(b"later", "delayed", "b"),
]


@pytest.fixture
def other() -> Any:
    server = Embedded()
    server.start()
    yield server
    server.stop()


def using(server: AnyServer, use: Any) -> Any:
    """Run a coroutine function of a client, which a test without a loop can do."""

    async def run() -> Any:
        async with client_of(server) as client:
            return await use(client)

    return asyncio.run(run())


def fill(server: AnyServer, *kinds: Kind) -> None:
    using(server, lambda client: populate(client, kinds))


def found(server: AnyServer, *tubes: str) -> list[Kind]:
    result: list[Kind] = using(server, lambda client: population(client, *tubes))
    return result


def run(server: AnyServer, *words: str | Path) -> int:
    return main([*map(str, words), "--server", server.url])


def test_what_export_prints_can_be_imported(
    server: AnyServer, other: Embedded, tmp_path: Path, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    assert run(server, "export") == 0
    out, err = capfdbinary.readouterr()
    assert err.decode().splitlines() == [
        "beanstalkt: exported 3 jobs (1 ready, 1 delayed, 1 buried)",
        "beanstalkt: looked at the ids 1 to 3; jobs put since are not among them",
    ]
    (tmp_path / "jobs").write_bytes(out)
    assert run(other, "import", tmp_path / "jobs") == 0
    out, err = capfdbinary.readouterr()
    assert out == b"3\n"
    assert err == b"beanstalkt: imported 3 jobs (1 ready, 1 delayed, 1 buried)\n"
    same(found(other), KINDS, ordered=False)


def test_a_selection_and_a_tube_for_all(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    assert run(server, "export", "-u", "a", "--state", "ready", "--limit", "1") == 0
    out, err = capfdbinary.readouterr()
    assert json.loads(out)["body"] == "ä"
    assert b"stopped at the limit" in err
    (tmp_path / "jobs").write_bytes(out)
    assert run(server, "import", "--use", "c", tmp_path / "jobs") == 0
    same(found(server, "c"), [KINDS[1]._replace(tube="c")])


def test_an_input_that_was_cut_off_is_told_and_resumed(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    run(server, "export")
    lines, _ = capfdbinary.readouterr()
    path, journal = tmp_path / "jobs", tmp_path / "journal"
    command = ["import", "--use", "c", "--resume", str(journal), str(path)]
    path.write_bytes(lines[:-9])
    assert run(server, *command) == 1
    out, err = capfdbinary.readouterr()
    assert out == b"2\n"
    assert b"line 3: it is not JSON" in err
    assert b"the last line has no end: was the input cut off?" in err
    assert b"no line after line 3 was put" in err
    path.write_bytes(lines[:-1])  # whole, though without a last line end
    assert run(server, *command) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"1\n"
    assert b"left 2 alone: imported before" in err
    assert len(found(server, "c")) == 3


def test_wrong_lines_are_skipped_if_that_is_asked_for(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured
) -> None:
    path = tmp_path / "jobs"
    path.write_text('{"tube": "a", "body": "1"}\nnonsense\n{"tube": "a", "body": "3"}\n')
    assert run(server, "import", "--dry-run", "--on-error", "skip", path) == 1
    out, err = capfdbinary.readouterr()
    assert out == b"2\n"
    assert b"would have imported 2 jobs (2 ready); nothing was changed" in err
    assert found(server) == []
    assert run(server, "import", "--on-error", "skip", path) == 1
    assert [each.body for each in found(server)] == [b"1", b"3"]


def test_a_file_that_is_no_journal_is_wrong_usage_and_stays(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured
) -> None:
    path = tmp_path / "jobs"
    path.write_text('{"tube": "a", "body": "1"}\n')
    assert run(server, "import", "--resume", path, path) == 2
    assert b"not the journal of an import" in capfdbinary.readouterr().err
    assert path.read_text() == '{"tube": "a", "body": "1"}\n'
    assert run(server, "import", "--resume", tmp_path, path) == 1
    assert b"Is a directory" in capfdbinary.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run(server, "import", tmp_path / "nothing")
    assert ended.value.code == 2


def test_a_server_that_is_not_there(
    tmp_path: Path, other: Embedded, capfdbinary: Captured
) -> None:
    other.stop()
    path = tmp_path / "jobs"
    path.write_text('{"tube": "a", "body": "1"}\n')
    for words in (["import", path], ["export"]):
        assert run(other, *words, "--connect-timeout", "0.01") == 69
    assert capfdbinary.readouterr().out == b""


def test_lines_are_put_as_they_come_and_an_interrupt_ends_it(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import threading

    reader, writer = os.pipe()
    pid, statuses = os.getpid(), []

    def write() -> None:
        os.write(writer, b'{"tube": "a", "body": "1"}\n{"tube": "a"')
        while not found(server, "a"):
            pass
        os.kill(pid, signal.SIGINT)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        statuses.append(run(server, "import", f"/dev/fd/{reader}"))
    finally:
        thread.join(20)
        os.close(reader)
        os.close(writer)
    assert statuses == [130]
    out, err = capfdbinary.readouterr()
    assert out == b"1\n"
    assert b"interrupted: imported 1 job (1 ready)" in err


# --- move and copy ----------------------------------------------------------------------------


def test_moved_and_copied_on_the_command_line(
    server: AnyServer, other: Embedded, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    assert run(server, "copy", "-u", "a", "--to-tube", "c", "--yes") == 0
    out, err = capfdbinary.readouterr()
    assert out == b"2\n"
    assert b"copied 2 jobs (1 ready, 1 buried)" in err
    same(found(server, "c"), [each._replace(tube="c") for each in KINDS[:2]])
    assert run(server, "move", "-u", "a", "-u", "b", "--to", other.url, "--dry-run") == 0
    out, err = capfdbinary.readouterr()
    assert out == b"3\n"
    assert found(other) == []
    assert run(server, "move", "-u", "a", "-u", "b", "--to", other.url, "-y") == 0
    assert capfdbinary.readouterr().out == b"3\n"
    same(found(other), KINDS, ordered=False)
    assert len(found(server)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-u", "a"], "say where the jobs go"),
        (["--to-tube", "b"], "name the tubes that they come from"),
        (["-u", "a", "--to-tube", "a"], "which must be others"),
        (["-u", "a", "--to", "http://x"], "URL"),
        (["-u", "a", "--to-tube", "b"], "pass --yes"),
    ],
)
def test_a_move_to_nowhere_is_wrong_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["move", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_move_to_the_same_server_by_another_name_is_refused(
    server: AnyServer, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    assert (
        run(server, "move", "-u", "a", "--to", f"beanstalk://localhost:{server.port}", "-y") == 2
    )
    assert b"same server: name another tube" in capfdbinary.readouterr().err
    same(found(server), KINDS)


def test_a_target_that_is_not_there(
    server: AnyServer, other: Embedded, capfdbinary: Captured
) -> None:
    fill(server, *KINDS)
    other.stop()
    words = ["move", "-u", "a", "--to", other.url, "--yes", "--connect-timeout", "0.01"]
    assert run(server, *words) == 69
    same(found(server), KINDS)


def test_tubes_may_be_arguments_or_options(server: AnyServer, capfdbinary: Captured) -> None:
    fill(server, *KINDS)
    for words, count in (("a", 2), ("-u a", 2), ("a b", 3), ("a -u b", 3), ("c", 0)):
        for verb in ("export", "list", "list --no-body"):
            assert run(server, *verb.split(), *words.split()) == 0
            assert len(capfdbinary.readouterr().out.splitlines()) == count
        for verb in ("move --to-tube d -n", "copy --to-tube d -n", "clear -n"):
            assert run(server, *verb.split(), *words.split()) == 0
            assert capfdbinary.readouterr().out == b"%d\n" % count
    for wrong in ("move d --to-tube d -y", "move a --to-tube d --state reserved -y"):
        with pytest.raises(SystemExit):
            run(server, *wrong.split())


def test_an_export_that_could_not_be_written_does_not_say_that_it_was(
    server: AnyServer, capfdbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server, *KINDS)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert run(server, "export") == 1
    told = capfdbinary.readouterr().err.decode()
    assert "exported 3 jobs" not in told
    assert "not all of what was exported is written" in told
    assert "standard output: No space left on device" in told


def test_a_journal_that_cannot_be_used_is_told(
    server: AnyServer, tmp_path: Path, capfdbinary: Captured
) -> None:
    assert run(server, "import", "--resume", tmp_path, "/dev/null") == 1
    told = capfdbinary.readouterr().err.decode().splitlines()
    assert told == ["beanstalkt: imported 0 jobs", f"beanstalkt: {tmp_path}: Is a directory"]
