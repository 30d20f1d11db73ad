"""Finds the handlers that a tube can be given: our own, and those of other distributions."""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from .base import Handler, Option

GROUP = "beanstalkt.handlers"
"""The entry-point group in which a distribution announces its handlers."""

BUILT_IN = {
    "command": "beanstalkt.worker.handlers.command.handler:CommandHandler",
    "http": "beanstalkt.worker.handlers.http.handler:HTTPHandler",
    "function": "beanstalkt.worker.handlers.function.handler:FunctionHandler",
}
"""The paths of our own handlers by name. They are no entry points, so that a checkout which is
not installed has them too, and are not imported before they are asked for."""

_OWN = "the distribution beanstalkt"


class HandlerError(Exception):
    """Report a handler that cannot be used; the message names its distribution."""


@functools.cache
def load_handlers(reserved: frozenset[str] = frozenset()) -> tuple[type[Handler], ...]:
    """Import all handlers: our own first, then the others by name.

    The result is kept: to look through the installed distributions takes a while, and code that
    was imported stays as it is.

    :param reserved: names of options, and flags with their dashes, that no handler may have

    Raises HandlerError if one cannot be imported, is no handler, or has a name, an option or a
    section that another one has.
    """
    taken = dict.fromkeys(reserved, _OWN)
    handlers: dict[str, type[Handler]] = {}
    origins: dict[str, str] = {}
    for name, origin, handler in _found():
        if name in handlers:
            raise HandlerError(f"{origins[name]} and {origin} both have a handler named {name}")
        handlers[name], origins[name] = handler, origin
        for claim in _claims(handler):
            if claim in taken:
                raise HandlerError(
                    f"the handler {name} of {origin} cannot be used: {taken[claim]} has "
                    f"{claim} already"
                )
            taken[claim] = origin
    return tuple(handlers.values())


def _found() -> Iterator[tuple[str, str, type[Handler]]]:
    """Yield the name, the origin and the class of each handler."""
    for name, path in BUILT_IN.items():
        yield name, _OWN, pkgutil.resolve_name(path)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _origin(point))):
        yield point.name, _origin(point), _load(point)


def _claims(handler: type[Handler]) -> Iterator[str]:
    """Yield what no two handlers may share: keys, flags and sections."""
    for option in handler.options:
        yield option.name
        yield option.flag
    for section in handler.sections:
        yield f"[{section}]"


def _origin(point: EntryPoint) -> str:
    if point.dist is None:
        return "an unknown distribution"
    return f"the distribution {point.dist.name} {point.dist.version}"


def _load(point: EntryPoint) -> type[Handler]:
    """Import the handler of an entry point. Raises HandlerError."""
    try:
        found = point.load()
    except KeyboardInterrupt:
        raise  # it is the user's, who stops a slow import
    # A module that calls sys.exit() must not end the runner without a word.
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise HandlerError(
            f"the handler {point.name} of {_origin(point)} cannot be imported "
            f"({point.value}): {reason}; repair or remove that distribution"
        ) from error
    if flaw := _flaw(found):
        raise HandlerError(
            f"the handler {point.name} of {_origin(point)} cannot be used: {point.value} {flaw}"
        )
    handler: type[Handler] = found
    return handler


def _flaw(found: object) -> str:
    """Return why an object is no handler class that can be used; empty: it is one."""
    if not isinstance(found, type) or not issubclass(found, Handler):
        return f"is not a subclass of {Handler.__module__}.Handler"
    if inspect.isabstract(found):
        return f"lacks {', '.join(sorted(found.__abstractmethods__))}"
    if not isinstance(found.options, tuple) or not all(
        isinstance(option, Option) for option in found.options
    ):
        return "has options that are not a tuple of Option"
    if not isinstance(found.sections, tuple) or not all(
        isinstance(section, str) for section in found.sections
    ):
        return "has sections that are not a tuple of str"
    return ""
