"""The manual page, made of the parser's description, in the format of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .description import Option, describe
from .prose import blocks

ENVIRONMENT = {
    "BEANSTALKD_URL": "The URL of the server, or of several, unless an option names it.",
    "BEANSTALKT_DATABASE": "The URL of the database of the outbox.",
    "BEANSTALKT_CONSOLE_PASSWORD": "The password of the console.",
    "BEANSTALKT_CONSOLE_TOKEN": "The token with which programs may ask the console.",
    "BEANSTALKT_*": "The options of work, such as BEANSTALKT_MAX_ATTEMPTS.",
    "NO_COLOR": "If it is set to anything, JSON on a terminal and top have no colours.",
}
"""What each variable of the environment does."""


def manual() -> str:
    """Return the source of the manual page."""
    program, verbs = describe()
    common = frozenset(option.flags for option in program.options)
    lines = [
        '.TH BEANSTALKT 1 "" beanstalkt',
        ".nh",  # a hyphen in the middle of an option would be copied as a part of it
        ".ad l",
        ".SH NAME",
        r"beanstalkt \- talk to a beanstalkd server, and run its jobs",
        ".SH SYNOPSIS",
        r".B beanstalkt",
        r"[options] \fIVERB\fR [options] [arguments]",
        ".SH DESCRIPTION",
        *_text(program.description),
        ".SH OPTIONS",
        *_options(program.options),
        ".PP",
        "Each verb that connects has these options as well, before or after its name.",
        ".SH VERBS",
    ]
    for verb in verbs:
        lines += [f".SS {_escape(', '.join(verb.names))}", *_text(verb.description), ".PP"]
        own = [option for option in verb.options if option.flags not in common]
        lines += [f"\\fB{_escape(verb.usage)}\\fR", *_options(own), *_paragraphs(verb.epilog)]
    lines += [".SH ENVIRONMENT"]
    for name, meaning in ENVIRONMENT.items():
        lines += [".TP", f"\\fB{_escape(name)}\\fR", *_text(meaning)]
    notes, _, statuses = program.epilog.partition("exit status:\n")
    lines += [".SH NOTES", *_paragraphs(notes)[1:], ".SH EXIT STATUS"]
    for status, meaning in re.findall(r"^ *(\d+) +(.*)$", statuses, re.MULTILINE):
        lines += [".TP", f"\\fB{status}\\fR", *_text(meaning)]
    return "\n".join(lines) + "\n"


def _options(options: Iterable[Option]) -> list[str]:
    lines: list[str] = []
    for option in options:
        lines += [".TP", _heading(option), *_text(option.help or "A word or several.")]
    return lines


def _heading(option: Option) -> str:
    value = option.metavar
    if option.choices:
        value = "|".join(option.choices)  # a long one may be broken, see _escape
    words = ", ".join(f"\\fB{_escape(flag)}\\fR" for flag in option.flags)
    return words if value is None else f"{words} \\fI{_escape(value)}\\fR".strip()


def _text(text: str) -> list[str]:
    return [_line(line) for line in text.splitlines() if line.strip()]


def _paragraphs(text: str) -> list[str]:
    """Let the formatter fill the prose, and keep the other lines as they are."""
    lines = []
    for prose, part in blocks(text):
        kept = [_line(line) for line in part if line]
        lines += [".PP", *kept] if prose else [".nf", *kept, ".fi"]
    return lines


def _line(text: str) -> str:
    """Escape a line of text: it must not begin as a request to the formatter does."""
    escaped = _escape(text)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _escape(text: str) -> str:
    """Escape what the formatter would take for its own; let it break lists without spaces."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?<=\w[,|])(?=\w)", r"\\:", escaped)
