"""The handler that runs a command for each job, with the body as its standard input."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from ...config.values import boolean
from ...policy.outcome import SUCCESS, Kind, Outcome
from ...process import lifeline
from ...process.child_watcher import Exits
from ...process.output import Output, failure
from ...process.process import Process, close_inherited
from ..base import CannotStart, Handler, Option, Work

_KINDS = {1: Kind.PERMANENT_FAIL, 2: Kind.TEMPORARY_FAIL}


class CommandHandler(Handler):
    """Runs a command. Nothing of a job's body gets into its arguments or environment."""

    options = (
        Option(
            "command",
            lambda text: split(text),
            "the command to run for each job, split as a shell splits words, run without one; "
            "the job's body is its standard input",
            metavar="COMMAND",
            flag_name="exec",
            selects=True,
        ),
        Option(
            "pass_tube", boolean, "add the tube's name as an argument", default=False, switch=True
        ),
    )

    in_process = False

    def __init__(self, argv: Sequence[str], pass_tube: bool = False) -> None:
        self.argv = tuple(argv)
        self.pass_tube = pass_tube
        # Once, and as bytes: to turn it into them again takes a while with each command.
        self._inherited = inheritable(os.environb)
        self._closing = close_inherited()
        self._exits = Exits()

    @classmethod
    def from_options(cls, values: Mapping[str, Any], workers: int) -> CommandHandler:
        return cls(values["command"], values["pass_tube"])

    def describe(self) -> str:
        return f"command {shlex.join(self.argv)}"

    def check(self) -> None:
        """Raise CannotStart unless the command can be found and executed."""
        name = self.argv[0]
        if shutil.which(name) is None:
            reason = "is not executable" if os.path.exists(name) else "cannot be found"
            raise CannotStart(f"the command {name} {reason}")

    async def run(self, work: Work) -> Outcome:
        argv = [*self.argv, work.tube] if self.pass_tube else self.argv
        made = environment(work, self._inherited)
        held = lifeline.current()
        if held is not None:
            made.update((held.mark,))
        try:
            process = Process(argv, work.body, made, self._exits, self._closing, held)
        except OSError as error:
            return Outcome(Kind.NOT_STARTED, error=f"cannot start {argv[0]}: {error}")
        try:
            status = await _wait(process, work.kill_grace)
        finally:
            process.abandon()
        return judge(status, process.stderr, process.stdout)


async def _wait(process: Process, grace: float) -> int | None:
    """Its exit status. Cancelled, it is told to end; after `grace` seconds, or when cancelled
    again, it is killed."""
    timer: asyncio.TimerHandle | None = None
    try:
        while True:
            try:
                return await process.wait()
            except asyncio.CancelledError:
                if timer is None:
                    process.terminate()
                    timer = asyncio.get_running_loop().call_later(grace, process.kill)
                else:
                    process.kill()
    finally:
        if timer is not None:
            timer.cancel()


def split(text: str) -> tuple[str, ...]:
    """A command as a shell splits it. Raises ValueError."""
    words = tuple(shlex.split(text))
    if not words or not words[0]:
        raise ValueError("a command is expected")
    if "\0" in text:
        raise ValueError("a command cannot hold a NUL")
    return words


def judge(status: int | None, stderr: Output, stdout: Output) -> Outcome:
    """What an exit status means (minus a signal's number; None: it is not known)."""
    if status == 0:
        return SUCCESS
    details = failure(stderr)
    if status is None:
        details["exit"] = None
    elif status < 0:
        details["signal"] = _signal_name(-status)
    else:
        details["exit"] = status
    details["stdout_bytes"] = stdout.total
    details["stderr_bytes"] = stderr.total
    return Outcome(
        _KINDS.get(status or 0, Kind.UNKNOWN_FAIL),
        exit_code=status,
        error=str(details.pop("error", "")),
        details=details,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def environment(work: Work, inherited: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The environment of a command: what it inherits, and what the job is."""
    counters: Mapping[str, object] = work.counters
    made = {
        **inherited,
        b"BEANSTALKT_JOB_ID": b"%d" % work.id,
        b"BEANSTALKT_TUBE": work.tube.encode(),
        b"BEANSTALKT_ATTEMPT": b"%d" % work.attempt,
        b"BEANSTALKT_MAX_ATTEMPTS": b"%d" % work.max_attempts,
        b"BEANSTALKT_SERVER": work.server.encode(),
        b"BEANSTALKT_SLOT": b"%d" % work.slot,
    }
    for name, counter in _COUNTERS:
        made[name] = str(counters.get(counter, "")).encode()
    return made


_COUNTERS = (
    (b"BEANSTALKT_PRIORITY", "pri"),
    (b"BEANSTALKT_TTR", "ttr"),
    (b"BEANSTALKT_TIME_LEFT", "time-left"),
    (b"BEANSTALKT_AGE", "age"),
    (b"BEANSTALKT_RESERVES", "reserves"),
    (b"BEANSTALKT_TIMEOUTS", "timeouts"),
    (b"BEANSTALKT_RELEASES", "releases"),
    (b"BEANSTALKT_BURIES", "buries"),
    (b"BEANSTALKT_KICKS", "kicks"),
)


TOLD = frozenset(
    {
        "BEANSTALKT_JOB_ID",
        "BEANSTALKT_TUBE",
        "BEANSTALKT_ATTEMPT",
        "BEANSTALKT_MAX_ATTEMPTS",
        "BEANSTALKT_SERVER",
        "BEANSTALKT_SLOT",
        *(name.decode() for name, _ in _COUNTERS),
    }
)
"""The variables by which a command is told of its job."""


def configuration(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what of the environment may configure a runner.

    A runner that is started by the command of another one's job finds what that command was told
    of the job: BEANSTALKT_MAX_ATTEMPTS would have the meaning of a setting for it.
    """
    if not environ.get("BEANSTALKT_JOB_ID"):
        return environ
    return {name: value for name, value in environ.items() if name not in TOLD}


def inheritable(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What a command inherits: not the runner's own settings, nor its line to systemd."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith(b"BEANSTALKT_") and key not in _SYSTEMD
    }


_SYSTEMD = frozenset({b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"})
