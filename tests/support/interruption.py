"""What a signal's handler raises, at any line of some files."""

from __future__ import annotations

import linecache
import sys
from types import FrameType
from typing import Any


class Interruption:
    """Raises KeyboardInterrupt at one line: the number `at` of those that run in these files.

    Not in a finalizer: it runs at any time, in the middle of any call, and Python itself drops
    what it raises.

    :param but: how a line begins at which nothing is raised
    """

    def __init__(self, at: int, files: set[str], but: tuple[str, ...] = ()) -> None:
        self.at = at
        self.files = files
        self.but = but
        self.lines = 0
        self.where = "nowhere"

    def __enter__(self) -> Interruption:
        sys.settrace(self._call)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        return self._line if code.co_filename in self.files and code.co_name != "__del__" else None

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and not (self.but and self._is_spared(frame)):
            self.lines += 1
            if self.lines == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line

    def _is_spared(self, frame: FrameType) -> bool:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return text.strip().startswith(self.but)
