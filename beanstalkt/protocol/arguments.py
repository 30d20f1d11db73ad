"""The arguments of commands: what each may be, and its limits (sections 1.3 and 1.4).

Everything that would break the stream is refused here, before a byte of it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InvalidArgument

DEFAULT_TUBE = "default"
"""The tube that every new connection uses and watches (section 2.5)."""

MAX_NUMBER = 2**32 - 1
"""The largest priority, delay, time to run and size (section 1.4)."""

MAX_JOB_ID = 2**64 - 1
"""The largest id of a job (section 1.4)."""

MAX_TIMEOUT = 2**31 - 1
"""The longest timeout of a reserve, in seconds.

To a longer one, beanstalkd 1.12 waits for ever and 1.13 replies BAD_FORMAT (section 4.1).
"""

TUBE_NAME = re.compile(r"[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,199}")
"""The pattern that a whole tube name must match (section 1.3)."""

_TUBE_NAME_RULE = (
    "use 1 to 200 of the characters A-Z a-z 0-9 - + / ; . $ _ ( ), not beginning with '-'"
)
_SHOWN = 210  # characters of a bad tube name that its message repeats

_WHOLE = re.compile(r"-?[0-9]{1,4000}")  # int() refuses to read more than 4300 digits


def parse_whole(text: str) -> int:
    """Return the whole number that `text` writes in decimal digits; raise InvalidArgument.

    Unlike `int`, it refuses ``1_000``, ``+7``, spaces and the digits of other scripts.
    """
    if not _WHOLE.fullmatch(text):
        raise InvalidArgument(f"{text[:50]!r} is not a whole number")
    return int(text)


@dataclass(frozen=True)
class Number:
    """Describe an argument that is a whole number from 0 to `limit`."""

    name: str
    limit: int

    def check(self, value: object) -> int:
        """Return `value` if it is a number that the server accepts; raise InvalidArgument."""
        if type(value) is int and 0 <= value <= self.limit:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            # bool is a subclass of int, but a priority of True is a mistake.
            raise InvalidArgument(f"{self.name} must be an int, not {type(value).__name__}")
        if not 0 <= value <= self.limit:
            raise InvalidArgument(f"{self.name} must be from 0 to {self.limit}")
        return value

    def parse(self, text: str) -> int:
        """Return the number that `text` writes in decimal digits; raise InvalidArgument."""
        return self.check(parse_whole(text))


@dataclass(frozen=True)
class TubeName:
    """Describe an argument that is the name of a tube."""

    name: str = "tube"

    def check(self, value: object) -> bytes:
        """Return the tube name as it goes on the command line; raise InvalidArgument."""
        if not isinstance(value, str):
            raise InvalidArgument(f"a tube name must be a str, not {type(value).__name__}")
        if not TUBE_NAME.fullmatch(value):
            raise InvalidArgument(f"bad tube name {value[:_SHOWN]!r}: {_TUBE_NAME_RULE}")
        return value.encode("ascii")


JOB_ID = Number("job id", MAX_JOB_ID)
PRIORITY = Number("priority", MAX_NUMBER)
DELAY = Number("delay", MAX_NUMBER)
TTR = Number("ttr", MAX_NUMBER)
SIZE = Number("size of the body", MAX_NUMBER)
TIMEOUT = Number("timeout", MAX_TIMEOUT)
BOUND = Number("bound", MAX_NUMBER)
TUBE = TubeName()


def check_body(value: object) -> bytes:
    """Return the body of a job as bytes: bytes-like unchanged, a str as UTF-8.

    Raises InvalidArgument for every other type, and for a body that is too long to be announced.
    """
    if type(value) is bytes and len(value) <= MAX_NUMBER:
        return value
    if isinstance(value, bytes):
        body = value
    elif isinstance(value, str):
        try:
            body = value.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"the body cannot be sent as UTF-8: {error}") from None
    else:
        try:
            # A copy: the caller may change a bytearray before the command is written.
            body = bytes(memoryview(value))  # type: ignore[arg-type]
        except TypeError:
            raise InvalidArgument(
                f"a body must be bytes-like or a str, not {type(value).__name__}"
            ) from None
    SIZE.check(len(body))
    return body
