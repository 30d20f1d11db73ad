"""The way from this app to the worker runner: its options, and its command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..cmd import main
from ..worker.config.options import COMMON, RUN
from ..worker.handlers.base import Option
from ..worker.handlers.function.handler import FunctionHandler
from . import log

TABLE = "beanstalkt.django.table:TABLE"
"""Where the runner finds what it may call."""

OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (*COMMON, *FunctionHandler.options, *RUN)
    if not option.selects
}
"""The options of the runner that go with functions, by name."""


def problem(name: str, value: object) -> str | None:
    """Return what is wrong with the value of an option, or None."""
    try:
        OPTIONS[name].parse(_text(value))
    except ValueError as error:
        return f"{error}, not {value!r}"
    return None


def work(
    server: str,
    server_place: str,
    tubes: Mapping[str, int | None],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    only_check: bool = False,
) -> int:
    """Run the runner until it ends; return its exit status.

    The log goes where the project's LOGGING sends that of the root logger. If that is nowhere, or
    the format is chosen, the runner writes it to standard error.

    :param server_place: what has named the server
    :param tubes: the tubes to work on, and how many workers each has; None: as the options say
    :param given: options that beat the environment
    :param defaults: options that the environment beats
    :param only_check: check the configuration, and do not run
    """
    chosen = {
        name: value
        for name, value in defaults.items()
        if not os.environ.get(OPTIONS[name].variable)
    }
    chosen.update(given)
    words = ["work", "--server", server, "--call", TABLE]
    words += ["--check"] if only_check else []
    words += [
        f"--tube={name}" if workers is None else f"--tube={name}:{workers}"
        for name, workers in tubes.items()
    ]
    for name, value in chosen.items():
        option = OPTIONS[name]
        if not option.switch:
            words.append(f"{option.flag}={_text(value)}")
        elif option.parse(_text(value)):
            words.append(option.flag)
    formatted = "log_format" in chosen or bool(os.environ.get(OPTIONS["log_format"].variable))
    keeps_log = bool(log.root_handlers()) and not formatted
    if keeps_log:
        log.tell_jobs()
    else:
        log.leave_to_runner()
    return main(words, server_place=server_place, keeps_log=keeps_log)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
