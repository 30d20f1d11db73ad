"""Credentials for HTTP requests, which are kept in a file of their own."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from ..base import CannotStart

MAX_SIZE = 8192
"""Bytes of a file of credentials at most: more would not fit into a header."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_NEVER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Auth:
    """Describe where credentials are and how they are sent.

    :ivar kind: ``basic`` if the file holds ``user:password``, ``bearer`` if it holds a token
    :ivar path: of the file
    """

    kind: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Auth:
        """Read ``basic:FILE`` or ``bearer:FILE``. Raises ValueError."""
        kind, _, path = text.partition(":")
        if kind not in ("basic", "bearer") or not path:
            raise ValueError("basic:FILE or bearer:FILE is expected")
        return cls(kind, path)

    def header(self) -> str:
        """Return the value of the Authorization header. Raises CannotStart.

        The file is read at each call, so that it can be replaced while the runner runs.
        """
        try:
            with open(self.path, "rb") as file:
                secret = file.read(MAX_SIZE + 1)
            return self._header(secret.decode().removesuffix("\n").removesuffix("\r"))
        except OSError as error:
            raise CannotStart(f"cannot read {self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise CannotStart(f"{self.path} is not UTF-8 text") from None

    def _header(self, secret: str) -> str:
        # No message repeats any part of the file.
        if len(secret) > MAX_SIZE:
            raise CannotStart(f"{self.path} holds more than {MAX_SIZE} bytes")
        if self.kind == "bearer":
            if not _TOKEN.fullmatch(secret):
                raise CannotStart(f"{self.path} does not hold a token, and nothing else")
            return f"Bearer {secret}"
        if ":" not in secret or _NEVER.search(secret):
            raise CannotStart(f"{self.path} does not hold one line, user:password")
        return "Basic " + base64.b64encode(secret.encode()).decode()
