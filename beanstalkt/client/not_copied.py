"""What has a connection is not copied: two of them would read each other's replies."""

from __future__ import annotations

from typing import NoReturn


class NotCopied:
    """Refuse to be copied or pickled, by saying what to do instead."""

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: `copy` and `pickle` call this."""
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled, because its connection cannot: "
            "make another one with the same address, in each process that needs one"
        )
