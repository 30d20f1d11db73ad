"""top in a real terminal: what it shows, its keys, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beanstalkt import blocking
from tests.support.beanstalkd import Beanstalkd
from tests.support.peer import Line, Peer
from tests.support.processes import gone
from tests.support.several import several, urls_of
from tests.support.tmux import BEANSTALKT, Tmux
from tests.support.waiting import block_until, until

TOP = f"{BEANSTALKT} top --interval 0.25 --timeout 1"
RESTORED = "1 0 0"
"""A shown cursor, the first screen, and a mouse that nobody has taken."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    with Tmux(tmp_path) as terminal:
        yield terminal


@pytest.fixture
def client(beanstalkd: Beanstalkd) -> Iterator[blocking.Client]:
    with blocking.Client(beanstalkd.host, beanstalkd.port) as client:
        yield client


def start(terminal: Tmux, url: str, command: str = TOP) -> int:
    """Start it, wait until it shows the server, and return its process id."""
    terminal.run(
        "stty -g > before; sh -c 'echo $$ > pid; exec \"$@\"' - "
        f"env BEANSTALKD_URL={url} {command}; "
        "echo $? > status; stty -g > after; mv after done"
    )
    terminal.until("TUBE", "READY")
    return int((terminal.folder / "pid").read_text())


def status_of(terminal: Tmux) -> int:
    """Wait for its end, assert that the terminal is as before, and return the exit status."""
    done = terminal.folder / "done"
    block_until(done.exists)
    assert done.read_text() == (terminal.folder / "before").read_text()
    assert terminal.state() == RESTORED
    return int((terminal.folder / "status").read_text())


def names(screen: str) -> list[str]:
    """The tubes in the order in which they are shown."""
    rows = screen.split("\n")[3:-2]
    return [row.split()[0] for row in rows if row.strip() and " | " not in row]


def row(screen: str, tube: str) -> dict[str, str]:
    """What is shown of a tube, by the headings."""
    headings, *rows = screen.split("\n")[2:-2]
    (cells,) = (each.split() for each in rows if each.startswith(f"{tube} "))
    return dict(zip(headings.split(), cells, strict=False))  # notes may be several words, or none


def test_it_shows_a_server_and_takes_keys(
    terminal: Tmux, beanstalkd: Beanstalkd, client: blocking.Client
) -> None:
    client.put_many([b"x"] * 3, tube="mail.out")
    client.put("x", tube="mail.in")
    client.put("x", delay=500, tube="later")
    client.pause_tube("mail.in", 500)
    for _ in range(2):
        client.put("x", tube="bad")
        client.bury(client.reserve_job(client.peek_ready(tube="bad").id))
    start(terminal, beanstalkd.url)
    assert terminal.state().split()[1:] == ["1", "0"]

    screen = terminal.until("in 0/s out 0/s")
    head, totals, columns, *rows = screen.split("\n")
    assert re.match(r"\d\d:\d\d:\d\d beanstalk://127.0.0.1:\d+: up \d+s, beanstalkd 1", head)
    assert "4 ready, 0 reserved, 1 delayed, 2 buried, 1 workers" in totals
    assert " ".join(columns.split()) == (
        "TUBE READY RESV DELAY BURY WORK WAIT IN/S OUT/S DRAIN AGE NOTES"
    )
    assert names(screen) == ["mail.out", "mail.in", "bad", "default", "later"]
    assert re.match(r"mail\.out +3 +0 +0 +0 +0 +0 +0 +0 +- +\d+s no workers$", rows[0])
    assert re.match(r"mail\.in +1 .* no workers, pa", rows[1])
    assert re.match(r"bad +0 +0 +0 +2 ", rows[2])
    assert max(map(len, screen.split("\n"))) <= 80

    terminal.keys("r")  # the other way round
    assert names(terminal.until("by ready, reversed"))[-1] == "mail.out"
    terminal.keys("r", "s", "s", "s")  # reserved, delayed, buried
    assert names(terminal.until("by buried |"))[0] == "bad"
    terminal.keys("Left", "<")
    terminal.until("by reserved |")

    terminal.keys("/", "mail")
    assert names(terminal.until("filter: mail_", "2 tubes")) == ["mail.in", "mail.out"]
    terminal.keys("qqq")  # no command now
    terminal.until("filter: mailqqq_", "0 tubes")
    terminal.keys("BSpace", "BSpace", "BSpace", ".*n", "Enter")
    assert names(terminal.until("filter mail.*n |", "1 tube")) == ["mail.in"]
    terminal.keys("Escape")
    terminal.until("1-5 tubes", without="filter")
    terminal.keys("!")
    terminal.until("1-2 tubes", "with notes", without="later")
    terminal.keys("!", "?")
    terminal.until("this help, and back", "jobs that workers hold")
    terminal.keys("?")
    terminal.until("1-5 tubes")

    terminal.keys("Space")
    paused = terminal.until("PAUSED")
    client.put("x", tube="new")
    terminal.keys("+")
    terminal.until("every 0.25 s")
    assert terminal.screen().split("\n")[0] == paused.split("\n")[0]
    assert "new" not in names(terminal.screen())
    terminal.keys("p")
    assert "new" in names(terminal.until("1-6 tubes", without="PAUSED"))
    terminal.keys("-")
    terminal.until("every 0.5 s")

    terminal.keys("q")
    assert status_of(terminal) == 0


def test_rates_and_workers_are_live(
    terminal: Tmux, beanstalkd: Beanstalkd, client: blocking.Client
) -> None:
    client.watch("t")
    client.put("x", tube="t")
    start(terminal, beanstalkd.url)
    terminal.until_screen(lambda screen: row(screen, "t")["WORK"] == "1")
    job = client.reserve()
    terminal.until("1 reserved", "1 workers")
    client.delete(job)
    client.put_many([b"x"] * 100, tube="t")

    def rates(screen: str) -> bool:
        t = row(screen, "t")
        return t["READY"] == "100" and float(t["IN/S"]) > 1 and float(t["OUT/S"]) > 0

    terminal.until_screen(rates)
    terminal.keys("q")
    assert status_of(terminal) == 0


def test_it_scrolls_and_survives_resizing(
    terminal: Tmux, beanstalkd: Beanstalkd, client: blocking.Client
) -> None:
    for number in range(60):
        client.watch(f"tube-{number:02}-{'x' * number}")
    start(terminal, beanstalkd.url, f"{TOP} --sort name")
    terminal.until("1-20 of 61 tubes")
    terminal.keys("NPage")
    terminal.until("21-40 of 61 tubes", "tube-38")
    terminal.keys("End")
    terminal.until("42-61 of 61 tubes", "tube-59")
    terminal.keys("k", "Up")
    terminal.until("40-59 of 61 tubes")
    terminal.resize(132, 40)
    screen = terminal.until("26-61 of 61 tubes", "WAIT TOTAL")
    assert len(screen.rstrip("\n").split("\n")) == 40
    terminal.resize(30, 8)
    terminal.until("of 61", without="WAIT")
    terminal.resize(1, 1)
    terminal.resize(80, 24)
    terminal.keys("Home")
    terminal.until("1-20 of 61 tubes", "default")
    terminal.keys("q")
    assert status_of(terminal) == 0


def test_a_server_that_goes_and_comes(terminal: Tmux, beanstalkd: Beanstalkd) -> None:
    start(terminal, beanstalkd.url)
    beanstalkd.kill()
    screen = terminal.until("is not available; below is what it had", "Connection refused")
    assert names(screen) == ["default"]
    beanstalkd.start()
    terminal.until("restarted, ", "in 0/s", without="not available")
    beanstalkd.freeze()
    terminal.until("is not available")
    terminal.keys("C-c")
    try:
        assert status_of(terminal) == 130
    finally:
        beanstalkd.thaw()


@pytest.mark.parametrize(
    ("end", "status"), [("C-c", 130), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_it_restores_the_terminal_however_it_is_ended(
    terminal: Tmux, beanstalkd: Beanstalkd, end: str | signal.Signals, status: int
) -> None:
    pid = start(terminal, beanstalkd.url)
    if isinstance(end, str):
        terminal.keys("/", end)  # also while something is typed
    else:
        os.kill(pid, end)
    assert status_of(terminal) == status
    assert "READY" not in terminal.screen()


def test_it_can_be_suspended(terminal: Tmux, beanstalkd: Beanstalkd) -> None:
    terminal.run("set -m; stty -g > before")
    terminal.run(f"{TOP} --server {beanstalkd.url}")
    terminal.until("TUBE", "in 0/s")
    terminal.keys("C-z")
    terminal.until("Stopped", without="READY")
    block_until(lambda: terminal.state() == RESTORED)
    terminal.run("stty -g > done; fg; echo $? > status")
    terminal.until("TUBE", "in 0/s")
    terminal.keys("q")
    block_until((terminal.folder / "status").exists)
    assert status_of(terminal) == 0


def test_it_restores_the_terminal_when_it_fails(terminal: Tmux, beanstalkd: Beanstalkd) -> None:
    """A defect of its own must not leave a terminal that shows nothing of what is typed."""
    (terminal.folder / "fails.py").write_text(
        "import sys\n"
        "from beanstalkt import cmd\n"
        "from beanstalkt.cli.top_view import View\n"
        "View.scroll = lambda *_: 1 / 0\n"
        "sys.exit(cmd.main(['top']))\n"
    )
    start(terminal, beanstalkd.url, f"PYTHONPATH={os.getcwd()} {sys.executable} fails.py")
    terminal.keys("End")
    assert status_of(terminal) == 1
    assert "ZeroDivisionError" in terminal.screen()


def test_it_ends_with_its_terminal(terminal: Tmux, beanstalkd: Beanstalkd) -> None:
    pid = start(terminal, beanstalkd.url)
    terminal.end()
    block_until(lambda: gone(pid))


def test_no_color_means_none(terminal: Tmux, beanstalkd: Beanstalkd) -> None:
    with blocking.Client(beanstalkd.host, beanstalkd.port) as client:
        client.put("x", tube="alone")
    start(terminal, beanstalkd.url)
    terminal.until("no workers")
    assert re.search(r"\x1b\[[0-9;]*3[1-6]m", terminal.screen(escapes=True))
    terminal.keys("q")
    assert status_of(terminal) == 0
    (terminal.folder / "done").unlink()
    start(terminal, beanstalkd.url, f"NO_COLOR=1 {TOP}")
    terminal.until("no workers")
    assert not re.search(r"\x1b\[([0-9]+;)*[34][0-7]\b", terminal.screen(escapes=True))
    terminal.keys("q")
    assert status_of(terminal) == 0


async def test_what_a_hostile_server_says_controls_nothing(terminal: Tmux) -> None:
    title = b"\x1b]0;owned\x07\x1b[2J\x1b[31m[red]"

    async def play(line: Line) -> None:
        while True:
            command = await line.command()
            data = {
                b"stats": b'---\nversion: "%s"\nuptime: 5\nid: a\ncurrent-jobs-ready: 1\n' % title,
                b"list-tubes": b"---\n- default\n- [b]%s\n" % title,
            }.get(command, b"---\nname: %s\ncurrent-jobs-ready: 0\n" % title)
            line.send(b"OK %d\r\n%s\r\n" % (len(data), data))

    async with Peer(play) as peer:
        terminal.run(f"{TOP} -P {peer.port} -H {peer.host}")
        await until(lambda: "default" in terminal.screen())
        screen = terminal.screen()
        assert "beanstalkd ?]0;owned??[2J?[31m[red]" in screen
        assert names(screen) == ["default"]
        assert terminal._tmux("display-message", "-p", "#{pane_title}").strip() != "owned"
        terminal.keys("q")
        await until(lambda: "READY" not in terminal.screen())


def test_without_a_server_there_is_no_screen(terminal: Tmux) -> None:
    terminal.run(f"{TOP} -P 1 --connect-timeout 0.2; echo status=$?")
    assert "beanstalkt: no connection" in terminal.until("status=69")


@pytest.mark.parametrize("words", ["< /dev/null", "| cat", "2> errors"])
def test_without_a_terminal_there_is_no_screen(terminal: Tmux, words: str) -> None:
    terminal.run(f"{TOP} {words}; echo status=$?")
    shown = terminal.until("status=0" if "|" in words else "status=2")
    if words.startswith("2>"):
        shown = (terminal.folder / "errors").read_text()
    assert "top needs a terminal: use stats-tube --watch" in shown.replace("\n", " ")
    assert "Traceback" not in shown


def test_several_servers_have_rows_or_sums_and_come_back(terminal: Tmux) -> None:
    with several(2) as servers:
        for server in servers.values():
            with blocking.Client(server.host, server.port) as client:
                client.put("x", tube="mail")
        named = " ".join(f"{name}={url}" for name, url in urls_of(servers).items())
        start(terminal, f'"{named}"')
        screen = terminal.until("a, b: ", "2 ready")
        assert re.search(r"^mail +a +1 ", screen, re.MULTILINE)
        assert re.search(r"^mail +b +1 ", screen, re.MULTILINE)
        terminal.keys("t")
        terminal.until_screen(lambda shown: re.search(r"^mail +2 ", shown, re.MULTILINE))
        servers["b"].kill()
        terminal.until("b is not available", "1 ready")
        servers["b"].start()
        terminal.until("a, b: ", without="not available")
        terminal.keys("q")
        assert status_of(terminal) == 0
