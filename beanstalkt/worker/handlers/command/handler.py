"""The handler that runs a command for each job, with the body as its standard input."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...config.values import boolean
from ...events import JobOutput
from ...policy.outcome import SUCCESS, Kind, Outcome
from ...process.captured_output import CapturedOutput, describe_failure
from ...process.child_watcher import ChildWatcher
from ...process.command_guard import current_guard
from ...process.command_process import LINGER, CommandProcess
from ...process.descriptors import close_inherited
from ...process.environment import inheritable, job_environment
from ...process.process_group import signal_name
from ...process.shown_output import ShownOutput
from ..base import CannotStart, Handler, Option, WorkerJob

_KINDS = {1: Kind.PERMANENT_FAIL, 2: Kind.TEMPORARY_FAIL}


def split_command(text: str) -> tuple[str, ...]:
    """Split a command as a shell splits words. Raises ValueError."""
    words = tuple(shlex.split(text))
    if not words or not words[0]:
        raise ValueError("a command is expected")
    if "\0" in text:
        raise ValueError("a command cannot hold a NUL")
    return words


class CommandHandler(Handler):
    """Run a command. Nothing of a job's body gets into its arguments or environment."""

    options = (
        Option(
            "command",
            split_command,
            "the command to run for each job, split as a shell splits words, run without one; "
            "the job's body is its standard input",
            metavar="COMMAND",
            flag_name="exec",
            selects=True,
        ),
        Option(
            "pass_tube", boolean, "add the tube's name as an argument", default=False, switch=True
        ),
        Option(
            "show_output",
            boolean,
            "log each line that commands write, with the tube and the id of the job; without "
            "this, only the end of a failed command's standard error is logged",
            default=False,
            switch=True,
        ),
    )

    in_process = False

    #: seconds that processes which a command left behind may go on
    linger = LINGER

    def __init__(
        self, argv: Sequence[str], pass_tube: bool = False, show_output: bool = False
    ) -> None:
        self.argv = tuple(argv)
        self.pass_tube = pass_tube
        self.show_output = show_output
        # Made once, and as bytes: to encode the environment takes a while with each command.
        self._inherited = inheritable(os.environb)
        self._closing = close_inherited()
        self._watcher = ChildWatcher()

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> CommandHandler:
        """Return a handler for the command that the options give."""
        return cls(values["command"], values["pass_tube"], values["show_output"])

    def describe(self) -> str:
        """Return the command as a shell takes it."""
        return f"command {shlex.join(self.argv)}"

    def check(self) -> None:
        """Raise CannotStart unless the command can be found and executed."""
        name = self.argv[0]
        if shutil.which(name) is None:
            reason = "is not executable" if os.path.exists(name) else "cannot be found"
            raise CannotStart(f"the command {name} {reason}")

    async def run(self, work: WorkerJob) -> Outcome:
        """Run the command for a job, and return what its exit status means."""
        argv = [*self.argv, work.tube] if self.pass_tube else self.argv
        environment = job_environment(work, self._inherited)
        guard = current_guard()
        if guard is not None:
            environment.update((guard.mark,))
        shown = self._shown(work) if self.show_output else None
        try:
            process = CommandProcess(
                argv,
                work.body,
                environment,
                self._watcher,
                self._closing,
                guard,
                self.linger,
                shown,
            )
        except OSError as error:
            return Outcome(Kind.NOT_STARTED, error=f"cannot start {argv[0]}: {error}")
        try:
            status = await _wait(process, work.kill_grace)
        finally:
            process.abandon()
            for output in shown or ():
                output.finish()
        return outcome_of_status(status, process.stderr, process.stdout)

    def _shown(self, work: WorkerJob) -> tuple[ShownOutput, ShownOutput]:
        """Return what takes the standard output and the standard error of a job's command."""

        def show(stream: str, line: str) -> None:
            self.publish_event(JobOutput(work.server_name, work.tube, work.id, stream, line))

        return ShownOutput(partial(show, "stdout")), ShownOutput(partial(show, "stderr"))


async def _wait(process: CommandProcess, grace: float) -> int | None:
    """Wait for a command, and return its exit status.

    When this is cancelled, the command gets SIGTERM; `grace` seconds after that, or when this is
    cancelled again, it gets SIGKILL.
    """
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


def outcome_of_status(
    status: int | None, stderr: CapturedOutput, stdout: CapturedOutput
) -> Outcome:
    """Return the outcome of a command that has ended.

    :param status: its exit status, or minus the number of the signal that ended it; None: unknown
    """
    if status == 0:
        return SUCCESS
    details = describe_failure(stderr)
    if status is None:
        details["exit"] = None
    elif status < 0:
        details["signal"] = signal_name(-status)
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
