"""The verbs for the shell: completion and man."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .exit_status import DONE
from .output import emit
from .verbs import Verb

COMPLETION_EPILOG = """\
examples:
  beanstalkt completion bash > ~/.local/share/bash-completion/completions/beanstalkt
  beanstalkt completion zsh > ~/.zfunc/_beanstalkt      (a folder in fpath)
  beanstalkt completion fish > ~/.config/fish/completions/beanstalkt.fish
"""

MAN_EPILOG = """\
example:
  beanstalkt man > ~/.local/share/man/man1/beanstalkt.1
"""


def completion(options: Namespace) -> int:
    """Print the completion script of a shell."""
    from .completion import SCRIPTS  # imports the parser, which imports no verb until it is used

    emit(SCRIPTS[options.shell]().removesuffix("\n"))
    return DONE


def man(options: Namespace) -> int:
    """Print the manual page."""
    from .manual import manual

    emit(manual().removesuffix("\n"))
    return DONE


def _add_shell(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


VERBS = {
    "completion": Verb(completion, _add_shell, connects=False, epilog=COMPLETION_EPILOG),
    "man": Verb(man, connects=False, epilog=MAN_EPILOG),
}
