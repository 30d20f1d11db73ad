"""Write the pages of the reference that are made of the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrics_page import metrics
from schema_page import schema

from beanstalkt.cli.description import Described, Option, describe
from beanstalkt.worker.config.options import COMMON, ON_EXIT, RUN
from beanstalkt.worker.handlers.registry import load_handlers

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def cell(text: str) -> str:
    """Return a text as it may stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def option_row(option: Option) -> str:
    """Return the row of an option, or of an argument without flags."""
    names = ", ".join(f"`{flag}`" for flag in option.flags) or f"`{option.metavar}`"
    if option.flags and option.metavar:
        names += f" `{option.metavar}`"
    return f"| {names} | {cell(option.help)} |"


def verb_section(verb: Described, common: frozenset[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines about a verb, without the options that every verb has."""
    yield f"## {verb.name}\n"
    if verb.aliases:
        yield f"Also called {', '.join(f'`{name}`' for name in verb.aliases)}.\n"
    if verb.description:
        yield f"{cell(verb.description)}\n"
    yield f"```text\n{verb.usage}\n```\n"
    own = [option for option in verb.options if option.flags not in common]
    if own:
        yield from ["| argument | meaning |", "| --- | --- |", *map(option_row, own), ""]
    if verb.epilog:
        yield f"```text\n{verb.epilog}\n```\n"


def command_line() -> str:
    """Return the page about every verb of the command line."""
    program, verbs = describe()
    common = frozenset(option.flags for option in program.options)
    lines = [
        "# The command line\n",
        "This page is made of the program's help. Options may stand before or after the verb.\n",
        f"```text\n{program.usage}\n```\n",
        "## Options of every verb that connects\n",
        "| argument | meaning |",
        "| --- | --- |",
        *map(option_row, program.options),
        "",
        "## Exit statuses\n",
        "| status | meaning |",
        "| --- | --- |",
        "| 0 | done |",
        "| 1 | the server refused, found nothing, or the time was over |",
        "| 2 | wrong usage |",
        "| 69 | no server answered, or what answered is no beanstalkd |",
        "| 130 | interrupted |",
        "",
    ]
    for verb in verbs:
        lines.extend(verb_section(verb, common))
    return "\n".join(lines)


def key_rows(options: Iterable[Any]) -> Iterator[str]:
    """Yield the rows of a table of keys of the configuration."""
    yield "| key | value | meaning |"
    yield "| --- | --- | --- |"
    for option in options:
        yield f"| `{option.name}` | {cell(option.metavar or 'yes or no')} | {cell(option.help)} |"
    yield ""


def configuration() -> str:
    """Return the page about every key that the runner's configuration may have."""
    lines = [
        "# Configuration of the runner\n",
        "Each key of a tube is a flag and an environment variable as well: `max_attempts` is "
        "`--max-attempts` and `BEANSTALKT_MAX_ATTEMPTS`. A flag beats a variable, which beats the "
        "file. `beanstalkt work --config FILE --check` reports every mistake, with its line.\n",
        "A file has a section `[connection]` with `host` and `port`, or `server = URL`; a section "
        "`[tube:NAME]` for each tube; and `[DEFAULT]`, whose values hold for all tubes. "
        "This page is made of the program's own table of options.\n",
        "## Keys of every tube\n",
        *key_rows(COMMON),
        f"`{ON_EXIT.name}_CODE = ACTION[:DELAY]` says what becomes of a job after a single exit "
        "status, such as `on_exit_75 = release:300`.\n",
    ]
    for handler in load_handlers():
        selects = next(option for option in handler.options if option.selects)
        lines.append(f"## Keys of a tube with `{selects.name}`\n")
        lines.extend(key_rows(handler.options))
    lines.append("## Options of a run, which the file does not have\n")
    lines.extend(key_rows(RUN))
    return "\n".join(lines)


def write(app: Sphinx) -> None:
    """Write the generated pages, but only if they changed: Sphinx reads what is newer."""
    reference = Path(app.srcdir) / "reference"
    pages = {
        "command-line": command_line,
        "configuration": configuration,
        "metrics": metrics,
        "schema": schema,
    }
    for name, make in pages.items():
        page, text = reference / f"{name}.md", make()
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def is_alias(
    app: Sphinx, what: str, name: str, member: object, skipped: bool, options: object
) -> bool | None:
    """Leave out the fields of a named tuple, about which Python says no more than a number."""
    return True if (member.__doc__ or "").startswith("Alias for field number") else None


def plain_signature(
    app: Sphinx,
    what: str,
    name: str,
    member: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write names in a signature as a reader knows them."""
    if signature is not None:
        signature = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature)
        signature = signature.replace("<factory>", "...")  # which is no expression of Python
    return signature, returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-skip-member", is_alias)
    app.connect("autodoc-process-signature", plain_signature)
    return {"parallel_read_safe": True}
