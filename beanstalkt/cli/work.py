"""The verb work: reserve jobs and run a handler for each."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConnectionLost, InvalidArgument
from ..protocol.servers import names_one, parse_servers
from ..worker.config.loading import load
from ..worker.config.options import COMMON, ON_EXIT, RESERVED, RUN
from ..worker.config.settings import EVERY_TUBE, ConfigError, Settings
from ..worker.config.sources import COMMAND_LINE, Flags
from ..worker.handlers.base import CannotStart, Option
from ..worker.handlers.registry import HandlerError, load_handlers
from ..worker.log.lines import FORMATTERS, RepeatFilter, TextFormatter, as_line, log
from ..worker.log.observer import LogObserver
from ..worker.log.progress import Progress
from ..worker.log.spool import Spool, text_stream
from ..worker.log.systemd import SystemdObserver
from ..worker.process.command_guard import guarded
from ..worker.process.orphan_reaper import reap_orphans
from ..worker.runner import Runner, Stage
from ..worker.signals import signals
from .exit_status import DONE, NO_SERVER, REFUSED, USAGE
from .extras import DATABASES, EXTRAS, lacking
from .output import emit
from .server_options import RESPONSE_TIMEOUT
from .stdio import null, say
from .verbs import Verb

if TYPE_CHECKING:
    from ..metrics.runner import RunnerMetrics
    from ..sql.history import History

EPILOG = """\
The body of a job is the standard input of its command. Exit status 0 deletes the job; 1 is a
permanent fail, 2 a temporary one, any other an unknown one. What the command writes is shown
only with --show-output, line by line on standard error, with the tube and the id of the job.
Without it, the end of what a failed command wrote to its standard error is in the log, with the
numbers of bytes, and the output of one that succeeds is dropped. SIGTERM or SIGINT: let the
running commands finish, and exit; a second time: stop them, and release their jobs; a third
time: kill them. SIGHUP reads the configuration again, SIGUSR1 pauses, SIGUSR2 resumes. Each
option is also an environment variable, such as BEANSTALKT_MAX_ATTEMPTS; an option beats the
variable, which beats the file. In a command of a job, where BEANSTALKT_JOB_ID is set, the
variables that describe the job configure nothing.

examples:
  beanstalkt work --tube mail:4 --exec "php send.php" --timeout 30 --on-exit 75=release:300
  beanstalkt work --config /etc/beanstalkt.ini --log-format json
"""

_SLOT_DESCRIPTORS = 6
"""Descriptors that a slot uses at most: a connection, three pipes, a process, and one to spare."""

_OTHER_DESCRIPTORS = 64
"""Descriptors that the rest of the runner may use."""

_MANY_TUBES = 1000
"""Tubes to allow descriptors for with ``--all-tubes``, where their number is not known."""

_SETTING = "set_"
"""The beginning of the names, among the parsed options, of those that a file may hold too."""


class _Group(Protocol):
    """Describe the part of argparse's argument groups that is used here."""

    def add_argument(self, *names: str, **options: Any) -> object:
        """Add an argument to the group."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    # For a program that runs the verb: what has named its server, and whether it logs by itself.
    parser.set_defaults(server_place=COMMAND_LINE, keeps_log=False)
    _add_tubes(parser.add_argument_group("which tubes"))
    group = parser.add_argument_group("what to run")
    try:
        # The flags must be known before it is known which handlers are needed.
        handlers = load_handlers(RESERVED)
    except HandlerError as error:
        parser.error(str(error))
    for handler in handlers:
        for option in handler.options:
            _add_option(group, option)
    group = parser.add_argument_group("what becomes of a job")
    for option in COMMON:
        _add_option(group, option)
    group.add_argument(
        ON_EXIT.flag,
        dest=_SETTING + ON_EXIT.name,
        action="append",
        metavar=ON_EXIT.metavar,
        help="for this exit status; may be repeated",
    )
    group = parser.add_argument_group("how long to run, and what to log")
    for option in RUN:
        _add_option(group, option)


def _add_tubes(group: _Group) -> None:
    group.add_argument(
        "--tube",
        action="append",
        default=[],
        metavar="NAME[:WORKERS]",
        help="a tube to reserve from; may be repeated. With --config: only these of its tubes",
    )
    group.add_argument(
        "--all-tubes",
        action="store_true",
        help="reserve from every tube, also from those created later",
    )
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out the tubes whose names match, such as 'tmp.*'; may be repeated",
    )
    group.add_argument("--config", metavar="FILE", help="read the tubes and options from FILE")
    group.add_argument(
        "--check",
        dest="only_check",
        action="store_true",
        help="check the configuration, and exit",
    )


def _add_option(group: _Group, option: Option) -> None:
    # Not converted here: what is wrong in options, variables and the file is reported together.
    dest = _SETTING + option.name
    if option.switch:
        group.add_argument(
            option.flag, dest=dest, action="store_const", const="yes", help=option.help
        )
    else:
        group.add_argument(option.flag, dest=dest, metavar=option.metavar, help=option.help)


# --- running ---------------------------------------------------------------------------------


def work(options: argparse.Namespace) -> int:
    """Run the jobs until the runner ends; return the exit status."""
    if sys.stdout is None:  # closed at the start; but a function of a job may print
        sys.stdout = null(1)
    # Before the import of functions, whose modules may create log handlers.
    spool = _replace_stderr()
    flags = flags_of(options)
    try:
        settings = load(flags, os.environ, check=True)
    except ConfigError as error:
        for problem in error.problems:
            say(problem)
        return USAGE
    if options.only_check:
        _describe(settings)
        return DONE
    burst, formatter = settings.run["burst"], FORMATTERS[settings.run["log_format"]]
    spool.tell_dropped = _dropped(formatter())
    try:
        history = _history(settings)
        metrics = _metrics(settings)
    except (OSError, ModuleNotFoundError, InvalidArgument) as error:
        say(str(error))
        return REFUSED if isinstance(error, OSError) else USAGE
    shows = burst and sys.stderr.isatty() and not options.keeps_log
    progress = Progress() if shows else None
    if not options.keeps_log:
        _log_to(progress or logging.StreamHandler(), formatter())
    _set_process_up(settings)
    runner = Runner(
        settings,
        burst=burst,
        max_jobs=settings.run["max_jobs"],
        connect_timeout=options.connect_timeout,
        reread=(lambda: load(flags, os.environ, check=True)) if flags.config is not None else None,
        observers=[
            LogObserver(),
            SystemdObserver(),
            *([progress] if progress is not None else []),
            *([metrics.counts] if metrics is not None else []),
            *([history] if history is not None else []),
        ],
    )
    if history is not None:
        history.publish = runner.publish
    status = asyncio.run(_run(runner, spool, metrics, history))
    if progress is not None:
        progress.finish()
    return status


def _metrics(settings: Settings) -> RunnerMetrics | None:
    """Return the HTTP server for a runner's metrics; None if the settings name no address.

    Raises OSError if the address is taken, and ModuleNotFoundError if the extra ``metrics`` is not
    installed.
    """
    if settings.run["metrics"] is None:
        return None
    try:
        from ..metrics.runner import RunnerMetrics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(lacking("--metrics", error, EXTRAS["metrics"])) from None
    return RunnerMetrics(*settings.run["metrics"])


def _history(settings: Settings) -> History | None:
    """Return what writes the history of jobs, or None if the settings name no database for it.

    Raises InvalidArgument if that is no URL of a database, and ModuleNotFoundError if the extra
    ``sql`` is not installed.
    """
    if settings.run["history"] is None:
        return None
    try:
        from ..sql.history import History
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(lacking("--history", error, DATABASES)) from None
    try:
        return History(settings.run["history"])
    except InvalidArgument as error:
        raise InvalidArgument(f"--history: {error}") from None


async def _run(
    runner: Runner, spool: Spool, metrics: RunnerMetrics | None, history: History | None
) -> int:
    """Run the runner until it ends, handle the signals, and return the exit status."""
    last = 0

    def on_stop(number: int) -> None:
        nonlocal last
        last = number

    try:
        with signals(runner, hangup=True, on_stop=on_stop), reap_orphans(runner.runs_in_process):
            async with (
                open_history(history, runner),
                guarded(),
                metrics or contextlib.nullcontext(),
            ):
                await runner.run()
    except ConnectionLost as error:
        log.error("%s", error)
        return NO_SERVER
    except CannotStart as error:
        log.error("%s", error)
        return USAGE
    status = 128 + last if runner.stage is Stage.KILLING else DONE
    if runner.has_running_slots:
        # Some coroutines ignore that they are cancelled: asyncio would wait for them forever.
        logging.shutdown()
        spool.finish()
        os._exit(status)
    return status


@contextlib.asynccontextmanager
async def open_history(history: History | None, runner: Runner) -> AsyncIterator[None]:
    """Have the history write what is left at the end, unless the runner is to end at once."""
    if history is None:
        yield
        return
    async with history:
        try:
            yield
        finally:
            closing = asyncio.ensure_future(history.close())
            await asyncio.sleep(0)  # it must have begun, to count what it drops
            while not closing.done():
                if runner.stage is Stage.KILLING:  # now, or by a signal that comes meanwhile
                    closing.cancel()
                await asyncio.wait([closing], timeout=0.05)


def flags_of(options: argparse.Namespace) -> Flags:
    """Collect what the command line configures; the file may be named by the environment."""
    chosen: dict[str, str] = {}
    for key, value in vars(options).items():
        if key.startswith(_SETTING) and value is not None:
            chosen[key.removeprefix(_SETTING)] = (
                value if isinstance(value, str) else " ".join(value)
            )
    config, place = options.config, "--config"
    if not config:
        config, place = os.environ.get("BEANSTALKT_CONFIG") or None, "BEANSTALKT_CONFIG"
    return Flags(
        chosen,
        options.tube,
        options.all_tubes,
        options.exclude,
        config,
        options.server,
        place,
        options.server_place,
    )


def _describe(settings: Settings) -> None:
    place = f", from {settings.server_place}" if settings.server_place else ""
    lines = [f"server: {settings.server}{place}"]
    for tube in settings.tubes:
        name = "every tube" if tube.tube == EVERY_TUBE else f"tube {tube.tube}"
        workers = "1 worker" if tube.workers == 1 else f"{tube.workers} workers"
        lines.append(f"{name}: {workers}, {tube.make_handler().describe()}")
    emit("\n".join(lines))


def _replace_stderr() -> Spool:
    """Replace ``sys.stderr``, where the log goes, so that a write never blocks the loop."""
    spool = Spool(2, _dropped(TextFormatter()))
    sys.stderr = text_stream(spool)
    atexit.register(spool.finish)
    return spool


def _dropped(formatter: logging.Formatter) -> Callable[[int], str]:
    return lambda lines: as_line(formatter, "dropped", {"lines": lines})


def _log_to(handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _set_process_up(settings: Settings) -> None:
    # If the parent process ignored SIGCHLD, so does this one, and every exit status is lost.
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A signal that this process ignores, as after nohup or with `&`, would be ignored by its
    # commands too. One that it handles is reset to its default in them.
    for number in (signal.SIGQUIT, signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    _allow_descriptors(settings)


def _allow_descriptors(settings: Settings) -> None:
    """Raise the limit on open files to what the slots need; warn if the system allows less."""
    slots = sum(tube.workers for tube in settings.tubes)
    certain = needed = slots * _SLOT_DESCRIPTORS + _OTHER_DESCRIPTORS
    if not names_one(settings.server):
        # Each tube has a main connection to each server, and one that waits.
        certain += 2 * len(parse_servers(settings.server)) * len(settings.tubes)
        needed = certain
    for tube in settings.tubes:
        if tube.tube == EVERY_TUBE:
            # How many tubes there will be is unknown: allow for many, without a warning.
            needed = max(needed, _MANY_TUBES * tube.workers * _SLOT_DESCRIPTORS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < certain:
        log.warning(
            "%d slots may need %d descriptors, and the limit is %d: raise it (ulimit -n, "
            "LimitNOFILE); a job that finds no free descriptor is tried again later",
            slots,
            certain,
            allowed,
        )


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.response_timeout != RESPONSE_TIMEOUT:
        parser.error("work has a --timeout of its own, for jobs: give it after the verb")


VERBS = {"work": Verb(work, add_arguments, _check, own_timeout=True, epilog=EPILOG)}
