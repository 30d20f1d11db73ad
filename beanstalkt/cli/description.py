"""The command line as data: its verbs and options, as the parser has them."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from .parser import Parser, VerbParser, build


@dataclass(frozen=True)
class Option:
    """Describe an option, or a positional argument, which has no flags."""

    #: such as ``-H`` and ``--host``; empty for a positional argument
    flags: tuple[str, ...]
    #: what stands for its value in a usage; None if it takes no value
    metavar: str | None
    #: the values that it may have; empty if there are more than can be listed
    choices: tuple[str, ...]
    help: str

    @property
    def is_file(self) -> bool:
        """Return whether its value is the name of a file."""
        return self.metavar in ("FILE", "PATH")


@dataclass(frozen=True)
class Described:
    """Describe the program or one verb of it."""

    name: str
    aliases: tuple[str, ...]
    summary: str
    usage: str
    description: str
    epilog: str
    options: tuple[Option, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name and the other names."""
        return (self.name, *self.aliases)

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the values of its positional arguments, as far as they can be listed."""
        return tuple(
            value for option in self.options if not option.flags for value in option.choices
        )

    @property
    def takes_file(self) -> bool:
        """Return whether one of its positional arguments is the name of a file."""
        return any(option.is_file for option in self.options if not option.flags)


def describe() -> tuple[Described, list[Described]]:
    """Return the description of the program, and those of its verbs.

    A verb that this installation lacks a package for is described without its options.
    """
    program = build()
    (verbs,) = [
        action for action in program._actions if isinstance(action, argparse._SubParsersAction)
    ]
    names: dict[VerbParser, list[str]] = {}
    for name, parser in verbs.choices.items():
        with contextlib.suppress(ModuleNotFoundError):
            parser.load()
        names.setdefault(parser, []).append(name)
    summaries = {action.dest: action.help or "" for action in verbs._choices_actions}
    return _described(program, ["beanstalkt"], ""), [
        _described(parser, those, summaries[those[0]]) for parser, those in names.items()
    ]


def _described(parser: Parser, names: list[str], summary: str) -> Described:
    return Described(
        names[0],
        tuple(names[1:]),
        summary,
        " ".join(parser.format_usage().split()).removeprefix("usage: "),
        (parser.description or "").strip(),
        (parser.epilog or "").strip(),
        tuple(_options(parser)),
    )


def _options(parser: Parser) -> Iterator[Option]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if not isinstance(parser, VerbParser):
                continue  # the verbs of the program, which are described one by one
            yield Option((), str(action.metavar), tuple(action.choices), "what to do")
            yield from _options_of_actions(action.choices)
        elif action.help != argparse.SUPPRESS:
            metavar = None
            if action.nargs != 0:
                metavar = str(action.metavar or action.dest.upper().removeprefix("SET_"))
            yield Option(
                tuple(action.option_strings),
                metavar,
                tuple(map(str, action.choices or ())),
                formatter._expand_help(action) if action.help else "",
            )


def _options_of_actions(actions: Mapping[str, Parser]) -> Iterator[Option]:
    """Yield the options of a verb's actions, each once.

    The help says which action an option is of, unless it is the same for several.
    """
    found: dict[tuple[str, ...], dict[Option, list[str]]] = {}
    for name, parser in actions.items():
        for option in _options(parser):
            if option.flags != ("-h", "--help"):
                key = option.flags or (str(option.metavar),)
                found.setdefault(key, {}).setdefault(option, []).append(name)
    for meanings in found.values():
        texts = [
            option.help if len(names) > 1 else f"{names[0]}: {option.help}"
            for option, names in meanings.items()
        ]
        yield replace(next(iter(meanings)), help="; ".join(texts))
