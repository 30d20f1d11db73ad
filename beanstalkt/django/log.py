"""The log of a worker: that of LOGGING where it has handlers for everything, else the runner's."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_PACKAGE = __name__.partition(".")[0]


def root_handlers() -> list[logging.Handler]:
    """Return the handlers of the root logger: those of LOGGING, or the runner's."""
    return list(logging.getLogger().handlers)


def tell_jobs() -> None:
    """Have the project's handlers get a line for each job, unless LOGGING says otherwise.

    The level of the root logger is WARNING in most projects: the worker would say nothing.
    """
    logger = logging.getLogger(_PACKAGE)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def leave_to_runner(handlers: Iterable[logging.Handler] = ()) -> None:
    """Have the runner alone write to the console, and not the handlers of LOGGING as well.

    Django has one of its own while DEBUG is True.

    :param handlers: those of the runner, which LOGGING may have removed
    """
    root = logging.getLogger()
    for logger in (root, logging.getLogger("django")):
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:  # not those of files, nor a service's
                logger.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)


def enable() -> None:
    """Enable the loggers of this package.

    LOGGING disables those that are there when Django is set up, unless it says
    ``"disable_existing_loggers": False``; in a worker's child processes they all are.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] == _PACKAGE and isinstance(logger, logging.Logger):
            logger.disabled = False
