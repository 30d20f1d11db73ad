"""The verbs of the command line, and the module that implements each group of them."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

GROUPS: dict[str, dict[str, str]] = {
    "jobs": {
        "put": "put a job, or a file of jobs, into a tube",
        "reserve": "reserve a job: print it, and delete, release or bury it",
        "reserve-job": "reserve the job with this id: print it, and delete, release or bury it",
        "peek": "print the job with this id",
        "peek-ready": "print the next ready job of a tube",
        "peek-delayed": "print the next delayed job of a tube",
        "peek-buried": "print the next buried job of a tube",
    },
    "admin": {
        "clear": "delete the jobs of tubes, or some of them",
        "delete": "delete jobs by their ids, or all that options name",
        "kick": "make buried jobs of a tube ready, or delayed ones if none is; print how many",
        "kick-job": "make buried or delayed jobs ready by their ids",
    },
    "listing": {
        "list": "print jobs in any state, or the names of all tubes",
        "tail": "print new jobs as they come, without reserving them",
    },
    "stats": {
        "stats": "print the statistics of the server",
        "stats-job": "print the statistics of a job",
        "list-tubes": "print the names of all tubes",
        "pause": "pause a tube: none of its jobs can be reserved for a while",
    },
    "stats_tube": {"stats-tube": "print the statistics of a tube, or a table of all tubes"},
    "top": {"top": "show a server live in the terminal: rates, states, workers"},
    "transfer": {
        "export": "print jobs as lines, from which they can be imported again",
        "import": "put the jobs of an export, with all that they had",
        "move": "move jobs to another tube or server, with all that they have",
        "copy": "copy jobs to another tube or server, with all that they have",
    },
    "work": {"work": "reserve jobs and run a handler for each"},
    "outbox": {"outbox": "put jobs that a program has inserted into a database, and more"},
    "metrics": {"metrics": "print or serve the metrics of servers, for Prometheus"},
    "console": {"console": "show servers in a browser, and act on their jobs"},
    "shell": {
        "completion": "print the completion script for bash, zsh or fish",
        "man": "print the manual page, in the format of man(1)",
    },
    "serve": {"serve": "run a server in memory, for development and tests"},
}
"""The summary of each verb by the module of its group, in the order of ``beanstalkt --help``.

The module holds ``VERBS``, a dict of a `Verb` for each of these names. It is imported when one of
its verbs is used and not before, so a group may import whatever it needs.
"""

ALIASES: dict[str, list[str]] = {}
"""Other names of a verb."""


def _nothing(*_: object) -> None:
    """Do nothing: the verb has no arguments, or nothing to check."""


@dataclass(frozen=True)
class Verb:
    """Describe what a verb does and which arguments it takes."""

    #: Carry out the verb with the parsed options; return the exit status.
    run: Callable[[Namespace], int]
    #: Add the verb's arguments to its parser.
    add_arguments: Callable[[ArgumentParser], None] = _nothing
    #: Complete the parsed options; call the parser's `error` if they contradict each other.
    check: Callable[[ArgumentParser, Namespace], None] = _nothing
    #: Whether the verb connects to a server, and so takes the options that name one.
    connects: bool = True
    #: Whether the verb has a ``--timeout`` with another meaning than the time for a reply.
    own_timeout: bool = False
    #: The first paragraph of the verb's help; by default the summary as a sentence.
    description: str | None = None
    #: The last part of the verb's help: details and examples.
    epilog: str | None = None


def load(group: str, name: str) -> Verb:
    """Import the module of a group and return its verb called `name`.

    Raises ModuleNotFoundError if the group needs a package that is not installed.
    """
    verbs: dict[str, Verb] = importlib.import_module(f".{group}", __package__).VERBS
    return verbs[name]
