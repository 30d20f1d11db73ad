"""The message about a package that is missing: which one, for what, and how to install it."""

from __future__ import annotations

EXTRAS = {"top": "top", "metrics": "metrics", "outbox": "sql"}
"""The extra with the packages of each verb that needs more than the client does."""

DATABASES = "sql"
"""The extra with what every database needs."""


def lacking(what: str, error: ModuleNotFoundError, extra: str | None) -> str:
    """Return the message about a package that `what` needs and that is not installed.

    :param extra: the extra of ``beanstalkt`` that installs it; None if there is none
    """
    message = f"{what} needs the package {error.name}"
    if extra is None:
        return f"{message}, which is not installed"
    return f"{message}: pip install 'beanstalkt[{extra}]'"
