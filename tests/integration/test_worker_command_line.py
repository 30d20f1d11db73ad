"""``work`` as a process: signals, exit statuses, and what it writes."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ..support.beanstalkd import Beanstalkd, free_port
from ..support.processes import gone
from ..support.program import COMMAND_LINE, start
from ..support.waiting import block_until

PATIENCE = 20.0


class Work:
    """``beanstalkt work …`` under way."""

    def __init__(
        self, server: Beanstalkd | None, *arguments: str, stderr: int | IO[bytes] | None = None
    ) -> None:
        where = () if server is None else ("--server", server.url)
        self.process = start(
            *[*COMMAND_LINE, *where, "work", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr is None else stderr,
        )
        self.output = b""

    def block_until(self, text: str) -> str:
        """Read standard error until this stands in it; everything so far."""
        return read_until(self, lambda: text in self.output.decode())

    def signal(self, *numbers: int) -> None:
        for number in numbers:
            self.process.send_signal(number)
            # Two of a kind that wait at once would be one.
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit status; what it has written to standard error is in `output`."""
        if self.process.stderr is not None:
            read_until(self, lambda: False)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def read_until(work: Work, condition: Callable[[], bool]) -> str:
    assert work.process.stderr is not None
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert select.select([work.process.stderr], [], [], deadline - time.monotonic())[0], (
            work.output.decode()
        )
        data = os.read(work.process.stderr.fileno(), 65536)
        if not data:
            break
        work.output += data
    return work.output.decode()


@contextmanager
def work(server: Beanstalkd | None, *arguments: str) -> Iterator[Work]:
    running = Work(server, *arguments)
    try:
        yield running
    finally:
        running.close()


def put(server: Beanstalkd, body: bytes = b"", ttr: int = 100, tube: bytes = b"mail") -> int:
    reply = server.ask(b"use %b\r\nput 9 0 %d %d\r\n%b\r\n" % (tube, ttr, len(body), body))
    assert reply.startswith(b"USING")
    return 0


def stats(server: Beanstalkd, job_id: int) -> dict[str, str] | None:
    """What ``stats-job`` says; None: there is no such job."""
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats-job %d\r\n" % job_id)
        status = replies.readline().split()
        if status[0] != b"OK":
            return None
        text = replies.read(int(status[1])).decode()
    return dict(line.split(": ", 1) for line in text.splitlines()[1:])


@pytest.fixture(autouse=True)
def commands_end(tmp_path: Path) -> Iterator[None]:
    """Also those whose runner was killed when the test failed."""
    yield
    (tmp_path / "open").touch()


def command(path: Path, trap: str = "") -> str:
    """Writes its pid and runs until it may end."""
    script = f"{trap} echo $$ >>{path}/pids; until [ -e {path}/open ]; do sleep 0.01; done; exit 0"
    return f'sh -c "{script}"'


def pids(path: Path) -> list[int]:
    file = path / "pids"
    return [int(word) for word in file.read_text().split()] if file.exists() else []


# --- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_idle(beanstalkd: Beanstalkd, number: int) -> None:
    with work(beanstalkd, "--tube", "mail:3", "--exec", "cat") as runner:
        runner.block_until("ready")
        runner.signal(number)
        assert runner.wait() == 0


def test_a_signal_lets_what_runs_finish(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    with work(beanstalkd, "--tube", "mail:3", "--exec", command(tmp_path)) as runner:
        put(beanstalkd)
        block_until(lambda: pids(tmp_path))
        runner.signal(signal.SIGTERM)
        runner.block_until("stopping how=draining running=1")
        (tmp_path / "open").touch()
        assert runner.wait() == 0
        assert b"outcome=success action=delete" in runner.output
    assert stats(beanstalkd, 1) is None


def test_a_second_signal_ends_the_command_and_releases_its_job(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    with work(beanstalkd, "--tube", "mail", "--exec", command(tmp_path)) as runner:
        put(beanstalkd)
        block_until(lambda: pids(tmp_path))
        runner.signal(signal.SIGTERM, signal.SIGTERM)
        assert runner.wait() == 0
        assert b"outcome=stopped action=release:0" in runner.output
    job = stats(beanstalkd, 1)
    assert job is not None
    assert (job["state"], job["pri"]) == ("ready", "9")
    assert gone(pids(tmp_path)[0])


def test_a_third_signal_kills(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    stubborn = command(tmp_path, trap="trap : TERM;")
    arguments = ("--tube", "mail", "--exec", stubborn, "--kill-grace", "1000")
    with work(beanstalkd, *arguments) as runner:
        put(beanstalkd)
        block_until(lambda: pids(tmp_path))
        runner.signal(signal.SIGTERM, signal.SIGTERM)
        runner.block_until("how=stopping")
        assert runner.process.poll() is None
        runner.signal(signal.SIGTERM)
        assert runner.wait() == 128 + signal.SIGTERM
    assert (stats(beanstalkd, 1) or {})["state"] == "ready"
    assert gone(pids(tmp_path)[0])


def test_a_signal_while_the_server_is_away(beanstalkd: Beanstalkd) -> None:
    with work(beanstalkd, "--tube", "mail:3", "--exec", "cat") as runner:
        runner.block_until("ready")
        beanstalkd.stop()
        runner.block_until("cannot connect")
        runner.signal(signal.SIGTERM)
        assert runner.wait() == 0
        # Three slots, one message for each reason that the system gives, refused or reset.
        told = [line[24:] for line in runner.output.splitlines() if b"cannot connect" in line]
        assert told
        assert len(told) == len(set(told))


def test_a_signal_before_it_is_connected() -> None:
    server = Beanstalkd()
    server.start()
    server.freeze()
    arguments = ("--connect-timeout", "60", "--tube", "mail", "--exec", "cat")
    try:
        with work(server, *arguments) as runner:
            time.sleep(0.5)
            runner.signal(signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
            assert runner.wait() in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
    finally:
        server.stop()


def test_pausing_and_going_on(beanstalkd: Beanstalkd) -> None:
    with work(beanstalkd, "--tube", "mail:3", "--exec", "cat") as runner:
        runner.block_until("ready")
        runner.signal(signal.SIGUSR1)
        runner.block_until("paused")
        block_until(lambda: b"current-workers: 0" in workers(beanstalkd))
        put(beanstalkd)
        assert (stats(beanstalkd, 1) or {})["state"] == "ready"
        runner.signal(signal.SIGUSR2)
        runner.block_until("outcome=success")
        runner.signal(signal.SIGUSR1, signal.SIGTERM)
        assert runner.wait() == 0


def workers(server: Beanstalkd) -> bytes:
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats\r\n")
        return replies.read(int(replies.readline().split()[1]))


def test_a_hangup_reads_the_file_again(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    file = tmp_path / "work.ini"
    file.write_text("[tube:a]\ncommand=cat\n")
    with work(beanstalkd, "--config", str(file)) as runner:
        runner.block_until("ready")
        file.write_text("[tube:a]\ncomand=cat\n")
        runner.signal(signal.SIGHUP)
        assert f"{file}:2: comand: unknown key" in runner.block_until("the old one is kept")
        put(beanstalkd, tube=b"a")
        runner.block_until("job tube=a")
        file.write_text("[tube:b]\ncommand=cat\n")
        runner.signal(signal.SIGHUP)
        runner.block_until("reloaded tubes=1")
        put(beanstalkd, tube=b"b")
        runner.block_until("job tube=b")


def test_a_hangup_without_a_file(beanstalkd: Beanstalkd) -> None:
    with work(beanstalkd, "--tube", "mail", "--exec", "cat") as runner:
        runner.block_until("ready")
        runner.signal(signal.SIGHUP)
        runner.block_until("there is no configuration file")
        runner.signal(signal.SIGTERM)
        assert runner.wait() == 0


def test_a_runner_that_stood_still_for_longer_than_the_ttr(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    arguments = ("--tube", "mail", "--timeout", "60", "--exec", command(tmp_path))
    with work(beanstalkd, *arguments) as runner:
        put(beanstalkd, ttr=3)
        block_until(lambda: pids(tmp_path))
        runner.signal(signal.SIGSTOP)
        for _ in range(12):
            time.sleep(0.5)
            if beanstalkd.ask(b"delete 1\r\n") == b"DELETED\r\n":
                break
        else:
            # beanstalkd 1.12 forgets now and then that a job's time is over.
            pytest.skip("the server has not noticed that the job's time is over")
        runner.signal(signal.SIGCONT)
        assert "action=none" in runner.block_until("outcome=lost")
        block_until(lambda: gone(pids(tmp_path)[0]))


def test_a_job_that_kills_its_runner_is_buried_in_the_end(beanstalkd: Beanstalkd) -> None:
    arguments = ("--tube", "mail", "--max-attempts", "3", "--exec", 'sh -c "kill -9 $PPID"')
    put(beanstalkd)
    for _ in range(3):
        with work(beanstalkd, *arguments) as runner:
            assert runner.wait() == -signal.SIGKILL
    with work(beanstalkd, *arguments, "--burst") as runner:
        assert runner.wait() == 0
        assert b"outcome=exhausted action=bury" in runner.output
    assert (stats(beanstalkd, 1) or {})["state"] == "buried"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_commands_end_with_a_killed_runner(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    script = f"trap : TERM; sleep 100 & echo $$ $! >>{tmp_path}/pids; while :; do wait; done"
    arguments = ("--tube", "mail:2", "--max-attempts", "0", "--exec", f'sh -c "{script}"')
    put(beanstalkd)
    for count in range(1, 11):
        with work(beanstalkd, *arguments) as runner:
            block_until(lambda count=count: len(pids(tmp_path)) == 2 * count)  # type: ignore[misc]
            runner.process.kill()
            runner.process.wait()
            block_until(lambda: all(map(gone, pids(tmp_path))))
        assert int((stats(beanstalkd, 1) or {})["reserves"]) >= count


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_a_subreaper_waits_for_what_commands_leave(beanstalkd: Beanstalkd) -> None:
    program = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    words = ["-m", "beanstalkt.cmd", "--server", beanstalkd.url, "work", "--tube", "mail:2"]
    words += ["--exec", 'sh -c "setsid sleep 0.1 & exit 0"']
    for _ in range(10):
        put(beanstalkd)
    runner = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
    try:
        block_until(lambda: all(stats(beanstalkd, number) is None for number in range(1, 11)))
        # Only the keeper is left.
        block_until(lambda: len(children.read_text().split()) == 1)
    finally:
        runner.terminate()
        assert runner.wait(PATIENCE) == 0


def test_commands_get_default_signal_handlers(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    script = f"grep -E SigIgn /proc/self/status >{tmp_path}/seen"
    put(beanstalkd)
    # As a shell does with what runs in the background, and nohup with everything.
    ignored = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    old = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        with work(
            beanstalkd, "--tube", "mail", "--burst", "--exec", f"sh -c '{script}'"
        ) as runner:
            assert runner.wait() == 0
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    seen = int((tmp_path / "seen").read_text().split()[1], 16)
    assert seen & ~(3 << 31) == 0  # 32 and 33 are the C library's: no program can set them


def test_a_signal_while_it_looks_for_a_server() -> None:
    url = f"beanstalk://127.0.0.1:{free_port()}"
    arguments = ("--server", url, "--connect-timeout", "60", "--tube", "mail", "--exec", "cat")
    with work(None, *arguments) as runner:
        runner.block_until("cannot connect")
        runner.signal(signal.SIGTERM)
        assert runner.wait() == 0


# --- exit statuses ---------------------------------------------------------------------------


def test_no_server() -> None:
    url = f"beanstalk://127.0.0.1:{free_port()}"
    arguments = ("--server", url, "--connect-timeout", "0.2", "--tube", "mail", "--exec", "cat")
    with work(None, *arguments) as runner:
        assert runner.wait() == 69
        assert url.encode() in runner.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tube", "mail"), "it does not say what to run"),
        (("--exec", "cat"), "no tube"),
        (("--tube", "mail", "--exec", "/no/such"), "the command /no/such cannot be found"),
        (("--tube", "mail", "--exec", "cat", "--timeout", "x"), "--timeout: a number of seconds"),
        (("--tube", "mail", "--exec", "cat", "--max-jobs", "0"), "--max-jobs: a whole number"),
        (("--tube", "mail", "--exec", "cat", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("--config", "/no/such/file"), "/no/such/file: No such file"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    with work(None, *arguments) as runner:
        assert runner.wait() == 2
        assert message in runner.output.decode()


def test_check(tmp_path: Path) -> None:
    file = tmp_path / "work.ini"
    file.write_text("[tube:a]\ncommand=cat\nworkers=2\n[tube:*]\ncommand=wc -c\n")
    with work(None, "--config", str(file), "--check") as runner:
        assert runner.wait() == 0
        assert runner.output == b""
        assert runner.process.stdout is not None
        assert runner.process.stdout.read() == (
            b"server: beanstalk://localhost:11300, from the default\n"
            b"tube a: 2 workers, command cat\nevery tube: 1 worker, command wc -c\n"
        )


def test_check_tells_all_that_is_wrong_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "work.ini"
    file.write_text("[tube:a]\ncommand=/no/such\nworkers=x\n[tube:*]\ncommand=/\n")
    for name, text in (
        ("BURST", "maybe"),
        ("MAX_JOBS", "-1"),
        ("DELAY", "\udcff"),
        ("CONFIG", str(file)),
        ("LOG_FORMAT", "xml"),
    ):
        monkeypatch.setenv(f"BEANSTALKT_{name}", text)
    monkeypatch.setenv("BEANSTALKD_URL", "nowhere")
    flags = ("--max-jobs", "many", "--log-format", "csv", "--timeout", "0")
    for arguments in (("--check", *flags), flags):
        with work(None, *arguments) as runner:
            assert runner.wait() == 2
            lines = runner.output.decode().replace(f"{file}:", "FILE ").splitlines()
            assert sorted(line.split(": ")[1] for line in lines) == [
                "--log-format",
                "--max-jobs",
                "--timeout",
                "BEANSTALKD_URL",
                "BEANSTALKT_BURST",
                "BEANSTALKT_DELAY",
                "BEANSTALKT_LOG_FORMAT",
                "BEANSTALKT_MAX_JOBS",
                "FILE 2",
                "FILE 3",
                "FILE 5",
            ]


def test_a_runner_that_a_job_starts_is_not_configured_by_that_job(
    beanstalkd: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "inner.ini"
    file.write_text("[tube:inner]\ncommand=cat\nmax_attempts=7\n")
    monkeypatch.setenv("BEANSTALKT_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("BEANSTALKT_DELAY", "5")
    monkeypatch.setenv("BEANSTALKD_URL", beanstalkd.url)
    inner = f"{sys.executable} -m beanstalkt.cmd work --config {file} --burst"
    script = f"sh -c '{inner} 2>{tmp_path}/log'"
    put(beanstalkd)
    with work(beanstalkd, "--tube", "mail", "--exec", script, "--burst") as runner:
        assert runner.wait() == 0
        told = runner.output.decode()
    assert " max_attempts=3 " in told
    assert " delay=5" in told
    assert " outcome=success " in told
    said = (tmp_path / "log").read_text()
    assert " max_attempts=7 " in said
    assert " delay=60" in said


def test_help_is_grouped_and_has_two_examples() -> None:
    with work(None, "--help") as runner:
        assert runner.wait() == 0
        assert runner.process.stdout is not None
        text = runner.process.stdout.read().decode()
    for flag in (
        *("--tube", "--exec", "--workers", "--config", "--check", "--timeout", "--kill-grace"),
        *("--max-attempts", "--on-timeout", "--on-temporary-fail", "--on-permanent-fail"),
        *("--on-unknown-fail", "--on-exit", "--delay", "--backoff", "--max-delay", "--pass-tube"),
        *("--all-tubes", "--exclude", "--burst", "--max-jobs", "--log-format"),
    ):
        assert flag in text
    assert text.count("\n  beanstalkt work ") == 2
    assert "what becomes of a job:" in text


# --- output ----------------------------------------------------------------------------------


def test_lines_of_json(beanstalkd: Beanstalkd) -> None:
    put(beanstalkd)
    script = "sh -c 'echo bad >&2; exit 1'"
    arguments = ("--tube", "mail:2", "--exec", script, "--burst", "--log-format", "json")
    with work(beanstalkd, *arguments) as runner:
        assert runner.wait() == 0
        lines = [json.loads(line) for line in runner.output.splitlines()]
    starting, tube, ready, job = lines[:4]
    assert (starting["event"], starting["from"]) == ("starting", "the command line")
    assert starting["server"] == beanstalkd.url
    assert (tube["event"], tube["tube"], tube["workers"]) == ("tube", "mail", 2)
    assert tube["handler"].startswith("command sh -c")
    assert tube["on_temporary_fail"] == "bury"
    assert ready["event"] == "ready"
    assert job["event"] == "job"
    assert {"tube", "id", "outcome", "action", "seconds", "attempt"} <= job.keys()
    assert job["error"] == "bad"


def test_what_commands_write_is_shown_when_asked_for(beanstalkd: Beanstalkd) -> None:
    for _ in range(2):
        put(beanstalkd, b"four")
    script = "sh -c 'wc -c; echo low >&2; printf end'"
    with work(
        beanstalkd, "--tube", "mail", "--exec", script, "--show-output", "--burst"
    ) as runner:
        assert runner.wait() == 0
    text = runner.output.decode()
    for job_id in (1, 2):
        lines = re.findall(rf" INFO output tube=mail id={job_id} (.*)", text)
        assert sorted(lines) == ["stderr: low", "stdout: 4", "stdout: end"]
        # Before the line of the job itself.
        assert text.index("stdout: end") < text.index("outcome=success")


def test_what_commands_write_is_shown_in_json(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    put(beanstalkd, b"\xff\r\n")
    file = tmp_path / "work.ini"
    file.write_text("[tube:mail]\ncommand = cat\nshow_output = yes\n")
    options = ("--config", str(file), "--burst", "--log-format", "json")
    with work(beanstalkd, *options) as runner:
        assert runner.wait() == 0
    events = [json.loads(line) for line in runner.output.decode().splitlines()]
    (line,) = [each for each in events if each["event"] == "output"]
    assert (line["tube"], line["id"]) == ("mail", 1)
    assert (line["stream"], line["line"]) == ("stdout", "\ufffd")


def test_output_that_is_not_read_keeps_no_job_waiting(beanstalkd: Beanstalkd) -> None:
    put(beanstalkd)
    put(beanstalkd)
    ours, theirs = os.pipe()  # is never read
    options = ("--tube", "mail", "--exec", "seq 1 30000", "--show-output")
    with open(theirs, "wb") as stderr:
        runner = Work(beanstalkd, *options, stderr=stderr)
    try:
        block_until(lambda: stats(beanstalkd, 2) is None)
        runner.signal(signal.SIGTERM)
        assert runner.wait() == 0
    finally:
        runner.close()
        os.close(ours)


def test_progress_on_a_terminal(beanstalkd: Beanstalkd) -> None:
    for _ in range(5):
        put(beanstalkd)
    put(beanstalkd, b"fail")
    ours, theirs = pty.openpty()
    script = "sh -c 'read x; test \"$x\" != fail'"
    arguments = ("--tube", "mail:2", "--exec", script, "--burst")
    runner = Work(beanstalkd, *arguments, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while True:
            try:
                data = os.read(ours, 1000)
            except OSError:  # it has been closed on the other side
                break
            seen += data
        assert runner.wait() == 0
    finally:
        runner.close()
        os.close(ours)
    text = seen.decode()
    assert "outcome=success" not in text
    assert "outcome=permanent-fail" in text
    assert re.search(r"\r\x1b\[K6 jobs, 1 failed, \d+ jobs/s\r\n$", text)


def test_systemd_is_told(
    beanstalkd: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        file = tmp_path / "work.ini"
        file.write_text("[tube:a]\ncommand=cat\n")
        with work(beanstalkd, "--config", str(file)) as runner:
            assert sock.recv(1000).startswith(b"READY=1\n")
            runner.signal(signal.SIGHUP)
            assert sock.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert sock.recv(1000) == b"READY=1"
            runner.signal(signal.SIGTERM)
            assert sock.recv(1000) == b"STOPPING=1"
            assert runner.wait() == 0


# --- what it costs ---------------------------------------------------------------------------


def test_200_idle_slots_cost_little(beanstalkd: Beanstalkd) -> None:
    tubes = [word for number in range(20) for word in ("--tube", f"t{number}:10")]
    with work(beanstalkd, *tubes, "--exec", "cat") as runner:
        runner.block_until("slots=200")
        pid = runner.process.pid
        before = cpu(pid)
        time.sleep(2)
        assert cpu(pid) - before <= 1  # hundredths of a second
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        assert pages * resource.getpagesize() < 60_000_000


def cpu(pid: int) -> int:
    """Clock ticks that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_more_slots_than_the_limit_of_descriptors(beanstalkd: Beanstalkd) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        runner = Work(beanstalkd, "--tube", "mail:100", "--exec", "sleep 0.3", "--burst")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        for _ in range(100):
            put(beanstalkd)
        assert runner.wait() == 0
        assert b"not-started" not in runner.output
    finally:
        runner.close()


def test_all_tubes_may_be_more_than_the_limit_of_descriptors(beanstalkd: Beanstalkd) -> None:
    """How many there will be is not known at the start, before the server was asked."""
    for number in range(150):
        put(beanstalkd, tube=b"t%d" % number)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        runner = Work(beanstalkd, "--all-tubes", "--exec", "sleep 0.3", "--burst")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        assert runner.wait() == 0
        assert b"Too many open files" not in runner.output
        assert b"may need" not in runner.output
        assert runner.output.count(b"outcome=success") == 150
    finally:
        runner.close()


def test_500_tubes_under_one_pattern(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    for number in range(500):
        put(beanstalkd, tube=b"t%d" % number)
    file = tmp_path / "work.ini"
    file.write_text("[tube:*]\ncommand = cat\nexclude = t10*\n")
    with work(beanstalkd, "--config", str(file), "--burst", "--log-format", "json") as runner:
        assert runner.wait() == 0
        said = [json.loads(line) for line in runner.output.splitlines()]
    jobs = {line["tube"] for line in said if line["event"] == "job"}
    assert len(jobs) == 500 - 11
    assert all(line["outcome"] == "success" for line in said if line["event"] == "job")


def test_few_descriptors_are_warned_of_and_jobs_run_all_the_same(beanstalkd: Beanstalkd) -> None:
    for number in range(10):
        put(beanstalkd, b"%d" % number)
    shell = ["sh", "-c", 'ulimit -n 30; exec "$@"', "sh"]
    words = ["--server", beanstalkd.url, "work", "--tube", "mail:2", "--exec", "cat", "--burst"]
    done = subprocess.run(
        [*shell, sys.executable, "-m", "beanstalkt.cmd", *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
    )
    assert b"2 slots may need 76 descriptors, and the limit is 30" in done.stderr
    assert done.stderr.count(b"outcome=success") == 10


@pytest.mark.parametrize(
    ("how", "body"),
    [
        (("--exec", "cat"), b"x"),
        (
            ("--call", "tests.support.functions:TABLE"),
            b'{"function": "takes", "args": [1], "kwargs": {}}',
        ),
    ],
)
def test_an_empty_environment(beanstalkd: Beanstalkd, how: tuple[str, ...], body: bytes) -> None:
    put(beanstalkd, body)
    words = ["--server", beanstalkd.url, "work", "--tube", "mail", "--burst", *how]
    done = subprocess.run(
        [sys.executable, "-m", "beanstalkt.cmd", *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr.count(b"outcome=success") == 1
