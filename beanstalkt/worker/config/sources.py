"""The sources of the configuration: its file, the environment and the flags, as unread texts."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..handlers.base import Handler, Option
from . import ini, values
from .options import ON_EXIT_PREFIX
from .settings import EVERY_TUBE

EXCLUDE = "exclude"
"""The key of ``[tube:*]`` for the patterns of names that it leaves out."""

COMMAND_LINE = "the command line"
"""What has named the server, where a flag does."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Flags:
    """What the command line says, as text.

    :ivar options: by the name of the option; the text of a switch is ``"yes"``
    :ivar tubes: each ``NAME`` or ``NAME:WORKERS``
    :ivar config: name of the configuration file; None: there is none
    :ivar server: URL; None: the command line names no server
    :ivar config_place: what names the file: the flag, or a variable
    :ivar server_place: what has named the server
    """

    options: Mapping[str, str] = field(default_factory=dict)
    tubes: Sequence[str] = ()
    all_tubes: bool = False
    exclude: Sequence[str] = ()
    config: str | None = None
    server: str | None = None
    config_place: str = "--config"
    server_place: str = COMMAND_LINE


@dataclass(frozen=True)
class SourceText:
    """A value that has not been parsed yet.

    :ivar place: where it stands, such as ``work.ini:3: timeout`` or ``--timeout``
    """

    text: str
    place: str


Layer = dict[str, SourceText]
"""What one source says, by the names of options."""


class Problems:
    """Collect what is wrong in all sources, so that it can be reported at once."""

    def __init__(self) -> None:
        #: a line for each, in the order in which they were found; the values mean nothing
        self.lines: dict[str, None] = {}

    def add(self, place: str, message: str) -> None:
        """Note a problem. One that concerns several tubes is noted once."""
        self.lines[f"{place}: {message}" if place else message] = None

    def parse(self, parse: Callable[[str], _T], source: SourceText) -> _T | None:
        """Return the value of a text; if it cannot be parsed, note that and return None."""
        try:
            return parse(source.text)
        except ValueError as error:
            message = str(error)
            shown = "" if repr(source.text[:210]) in message else f", not {source.text[:60]!r}"
            self.add(source.place, f"{message}{shown}")
            return None


class ConfigFile:
    """The sections of a configuration file. A new one is empty.

    :ivar connection: the section ``[connection]``
    :ivar defaults: the section ``[DEFAULT]``, for every tube of the file
    :ivar tubes: the sections of tubes by name, with their places
    :ivar names_tubes: whether the file names a tube, or may do so and cannot be read
    :ivar extra: the texts of the sections that belong to a handler

    :param options: the keys that a section of a tube may have
    """

    def __init__(
        self, handlers: Sequence[type[Handler]], options: Container[str], problems: Problems
    ) -> None:
        self.connection: Layer = {}
        self.defaults: Layer = {}
        self.tubes: dict[str, tuple[Layer, str]] = {}
        self.names_tubes = False
        self.extra: dict[str, dict[str, str]] = {}
        self._cased = {name for handler in handlers for name in handler.sections}
        self._options = options
        self._problems = problems

    def read(self, name: str, place: str) -> None:
        """Read a file, and note everything that is wrong with it.

        :param place: what names the file
        """
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # ValueError: also a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._problems.add(place, f"{name}: {reason}")
            self.names_tubes = True
            return
        sections, problems = ini.parse(text, self._cased)
        for line, message in problems:
            self._problems.add(f"{name}:{line}", message)
        for section in sections:
            self._read_section(name, section)

    def _read_section(self, name: str, section: ini.IniSection) -> None:
        layer = {
            key: SourceText(entry.value, f"{name}:{entry.line}: {key}")
            for key, entry in section.entries.items()
        }
        place = f"{name}:{section.line}"
        kind, colon, tube = (part.strip() for part in section.name.partition(":"))
        if section.name == "connection":
            self.connection = layer
            self._check_keys(layer, {"server", "servers", "host", "port"})
        elif section.name == "DEFAULT":
            self.defaults = layer
            self._check_keys(layer, self._options)
        elif section.name in self._cased:
            self.extra[section.name] = {key: entry.value for key, entry in section.entries.items()}
        elif colon and kind in ("tube", "pool"):
            self.names_tubes = True
            self._read_tube(tube, layer, place)
        else:
            self._problems.add(place, f"[{section.name}] is not a section that this file may have")

    def _read_tube(self, tube: str, layer: Layer, place: str) -> None:
        every = tube == EVERY_TUBE
        if not every and self._problems.parse(values.tube_name, SourceText(tube, place)) is None:
            return
        if tube in self.tubes:
            self._problems.add(place, f"tube {tube} has a section already")
        self._check_keys(layer, self._options, EXCLUDE if every else None)
        self.tubes[tube] = layer, place

    def _check_keys(self, layer: Layer, known: Container[str], also: str | None = None) -> None:
        for key, source in layer.items():
            if key not in known and key != also and not key.startswith(ON_EXIT_PREFIX):
                self._problems.add(source.place, "unknown key")


def from_environment(options: Sequence[Option], environ: Mapping[str, str]) -> Layer:
    """Return what the environment says."""
    return {
        option.name: SourceText(environ[option.variable], option.variable)
        for option in options
        if environ.get(option.variable)
    }


def from_flags(options: Sequence[Option], flags: Flags) -> Layer:
    """Return what the flags say."""
    return {
        option.name: SourceText(flags.options[option.name], option.flag)
        for option in options
        if option.name in flags.options
    }
