"""``work`` on the command line."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable

from ..errors import ConnectionLost
from ..worker.config.loading import load
from ..worker.config.options import COMMON, ON_EXIT, RESERVED, RUN
from ..worker.config.settings import EVERY_TUBE, ConfigError, Settings
from ..worker.config.sources import Flags
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
from .stdio import null, say

USAGE = 2
NO_SERVER = 69  # EX_UNAVAILABLE of sysexits.h
CANNOT_START = 2

EPILOG = """\
A job's body is the command's standard input. Exit status 0 deletes the job; 1 is a permanent
fail, 2 a temporary one, any other an unknown one. SIGTERM or SIGINT: finish what runs, and end;
a second time: stop what runs, and release it; a third time: kill it. SIGHUP reads the
configuration again, SIGUSR1 pauses, SIGUSR2 goes on. Each option is also an environment
variable, such as BEANSTALKT_MAX_ATTEMPTS; flags beat variables, which beat the file. Within a
job, where BEANSTALKT_JOB_ID is set, the variables that describe it configure nothing.

examples:
  beanstalkt work --tube mail:4 --exec "php send.php" --timeout 30 --on-exit 75=release:300
  beanstalkt work --config /etc/beanstalkt.ini --log-format json
"""

_FILES_OF_A_SLOT = 6
"""Descriptors that a slot uses at most: a connection, three pipes, a process, and one to spare."""

_OTHER_FILES = 64
"""Descriptors that all else may need."""

_MANY_TUBES = 1000
"""Tubes that a server may have where every tube is wanted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser everything that `work` takes."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_tubes(parser)
    try:
        # The flags must be known before it is known which handlers are needed.
        handlers = load_handlers(RESERVED)
    except HandlerError as error:
        parser.error(str(error))
    for handler in handlers:
        for option in handler.options:
            _add_option(parser, "what to run", option)
    for option in COMMON:
        _add_option(parser, "what becomes of a job", option)
    group = _group(parser, "what becomes of a job")
    group.add_argument(
        ON_EXIT.flag,
        dest="set_" + ON_EXIT.name,
        action="append",
        metavar=ON_EXIT.metavar,
        help="for this exit status; may be repeated",
    )
    for option in RUN:
        _add_option(parser, "how long, and what it tells", option)


def _add_tubes(parser: argparse.ArgumentParser) -> None:
    group = _group(parser, "which tubes")
    group.add_argument(
        "--tube",
        action="append",
        default=[],
        metavar="NAME[:WORKERS]",
        help="a tube to take jobs from; may be repeated. With --config: only these of its tubes",
    )
    group.add_argument(
        "--all-tubes",
        action="store_true",
        help="every tube that there is, or will be, with the options given here",
    )
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="not the tubes whose names match, such as 'tmp.*'; may be repeated",
    )
    group.add_argument("--config", metavar="FILE", help="read the tubes and options from FILE")
    group.add_argument(
        "--check",
        dest="only_check",
        action="store_true",
        help="say whether the configuration is right, and end",
    )


def _group(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    for group in parser._action_groups:
        if group.title == title:
            return group
    return parser.add_argument_group(title)


def _add_option(parser: argparse.ArgumentParser, group: str, option: Option) -> None:
    # The text is read with that of the file: what is wrong anywhere is told at once.
    dest = "set_" + option.name
    if option.switch:
        _group(parser, group).add_argument(
            option.flag, dest=dest, action="store_const", const="yes", help=option.help
        )
    else:
        _group(parser, group).add_argument(
            option.flag, dest=dest, metavar=option.metavar, help=option.help
        )


# --- running ---------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> int:
    """Run the jobs; gives the exit status."""
    if sys.stdout is None:  # it was closed, and a function may print
        sys.stdout = null(1)
    # Before the functions are imported, and make log handlers of their own.
    spool = _replace_stderr()
    flags = _flags(options)
    try:
        settings = load(flags, os.environ, check=True)
    except ConfigError as error:
        for problem in error.problems:
            say(problem)
        return USAGE
    if options.only_check:
        _describe(settings)
        return 0
    burst, formatter = settings.run["burst"], FORMATTERS[settings.run["log_format"]]
    spool.tell_dropped = _dropped(formatter())
    progress = Progress() if burst and sys.stderr.isatty() else None
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
        ],
    )
    status = asyncio.run(_run(runner, spool))
    if progress is not None:
        progress.finish()
    return status


async def _run(runner: Runner, spool: Spool) -> int:
    last = 0

    def on_stop(number: int) -> None:
        nonlocal last
        last = number

    try:
        with signals(runner, hangup=True, on_stop=on_stop), reap_orphans(runner.runs_in_process):
            async with guarded():
                await runner.run()
    except ConnectionLost as error:
        log.error("%s", error)
        return NO_SERVER
    except CannotStart as error:
        log.error("%s", error)
        return CANNOT_START
    status = 128 + last if runner.stage is Stage.KILLING else 0
    if runner.has_running_slots:
        # Coroutines that will not be cancelled: asyncio would wait for them for ever.
        logging.shutdown()
        spool.finish()
        os._exit(status)
    return status


def _flags(options: argparse.Namespace) -> Flags:
    chosen: dict[str, str] = {}
    for key, value in vars(options).items():
        if key.startswith("set_") and value is not None:
            chosen[key.removeprefix("set_")] = value if isinstance(value, str) else " ".join(value)
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
    )


def _describe(settings: Settings) -> None:
    for tube in settings.tubes:
        name = "every tube" if tube.tube == EVERY_TUBE else f"tube {tube.tube}"
        print(f"{name}: {tube.workers} workers, {tube.make_handler().describe()}")


def _replace_stderr() -> Spool:
    """Have whatever is written to ``sys.stderr`` from now on, log lines before all, never keep
    the loop waiting."""
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
    # Inherited from whoever ignored it: every exit status would be lost.
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What this process ignores, as under nohup or behind `&`, its commands would ignore as well;
    # what it handles is theirs to handle anew.
    for number in (signal.SIGQUIT, signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    _allow_descriptors(settings)


def _allow_descriptors(settings: Settings) -> None:
    slots = sum(tube.workers for tube in settings.tubes)
    needed = slots * _FILES_OF_A_SLOT + _OTHER_FILES
    for tube in settings.tubes:
        if tube.tube == EVERY_TUBE:
            # Nobody knows how many there will be: it is allowed, and not warned of.
            needed = max(needed, _MANY_TUBES * tube.workers * _FILES_OF_A_SLOT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < slots * _FILES_OF_A_SLOT + _OTHER_FILES:
        log.warning(
            "%d slots may need %d descriptors, and the limit is %d: raise it (ulimit -n, "
            "LimitNOFILE), or what finds none is tried again later",
            slots,
            slots * _FILES_OF_A_SLOT + _OTHER_FILES,
            allowed,
        )
