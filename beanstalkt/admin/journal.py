"""The journal of an import: which lines of its input are in the server, and which may be.

A file of JSON lines, of which each is written in one go: one before some lines are put, and one
when the server has answered all of them. So the end of the process at any point leaves no more in
doubt than the lines that were under way. A last line that was cut off is ignored: what it was to
tell had not happened yet, or is in doubt.

It outlives the process, whatever ends that; not the machine, since it does not wait for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import zlib
from collections.abc import Iterable
from typing import Any

from ..errors import InvalidArgument
from .spans import Spans

_HEADER = b'{"journal": "beanstalkt import", "version": 1}\n'
"""The first line of every journal."""


class Journal:
    """The journal of an import, in a file that no other import can use meanwhile.

    :param path: the file, which is made if it is not there

    Raises OSError, and InvalidArgument if the file is not a journal or is in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        #: the ``id`` of the server process that the jobs were put to last; "" before any was
        self.server = ""
        #: the address of that server
        self.address = ""
        #: lines whose jobs are in the server
        self.done = Spans()
        #: lines that were refused
        self.refused = Spans()
        #: lines that were to be put, without an answer
        self.in_doubt = Spans()
        #: ids of jobs of lines that are done, as far as they are above `after`
        self.ids = Spans()
        #: the highest id that a job got
        self.last_id = 0
        #: the sum of the checksums of the lines that are done
        self.checksum = 0
        #: the first line that is done, and its checksum; the line is 0 if that is not known
        self.first = (0, 0)
        self._begun: list[tuple[Spans, int]] = []  # lines in doubt, with what `after` is for them
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self._load()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was written stays."""
        os.close(self._file)

    @property
    def last_line(self) -> int:
        """The last line that the journal tells of; 0 if it tells of none."""
        return max(self.done.last, self.refused.last, self.in_doubt.last)

    @property
    def after(self) -> int:
        """No job of the lines in doubt has an id up to this one."""
        return min((after for _, after in self._begun), default=self.last_id)

    def use(self, server: str, address: str) -> None:
        """Write down to which process of a server the next lines are put, and its address."""
        self._write({"server": server, "address": address})
        self.server, self.address = server, address

    def begin(self, lines: Iterable[int]) -> None:
        """Write down that the jobs of these lines are about to be put."""
        begun = Spans(lines)
        self._write({"begin": begun.text(), "after": self.last_id})
        self._began(begun, self.last_id)

    def end(
        self, done: Iterable[int], refused: Iterable[int], checksum: int, ids: Iterable[int]
    ) -> None:
        """Write down what became of lines.

        :param checksum: the sum of the checksums of those that are done
        :param ids: the ids of their jobs
        """
        into, out, jobs = Spans(done), Spans(refused), Spans(sorted(ids))
        record = {
            "done": into.text(),
            "refused": out.text(),
            "sum": checksum,
            "last": jobs.last,
            "ids": jobs.text(),
        }
        self._write(record)
        self._ended(into, out, checksum, jobs.last)
        self._got(jobs)

    def _got(self, ids: Spans) -> None:
        # Without lines in doubt, `after` is above all of them.
        if self._begun:
            self.ids.update(ids)
        else:
            self.ids = Spans()

    def _began(self, lines: Spans, after: int) -> None:
        self._begun.append((lines, after))
        self.in_doubt.update(lines)

    def _ended(self, done: Spans, refused: Spans, checksum: int, last_id: int) -> None:
        if not self.done and len(done) == 1:
            self.first = (done.last, checksum)
        self.done.update(done)
        self.refused.update(refused)
        self.refused.remove(done)
        for each in (done, refused):
            self.in_doubt.remove(each)
            for lines, _ in self._begun:
                lines.remove(each)
        self._begun = [begun for begun in self._begun if begun[0]]
        self.checksum = (self.checksum + checksum) % 2**64
        self.last_id = max(self.last_id, last_id)

    # --- the file -----------------------------------------------------------------------------

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise InvalidArgument(
                f"{self.path}: another import uses this journal; wait for its end"
            ) from None

    def _load(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise InvalidArgument(f"{self.path}: a journal must be a plain file")
        whole = 0  # bytes of whole lines
        rest = b""
        with open(os.dup(self._file), "rb") as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    rest = line
                    break
                self._take(number, line)
                whole += len(line)
        if not whole and not _HEADER.startswith(rest):
            raise self._no_journal(1)
        os.ftruncate(self._file, whole)
        if not whole:
            self._write(json.loads(_HEADER))

    def _no_journal(self, number: int) -> InvalidArgument:
        return InvalidArgument(
            f"{self.path}, line {number}: this is not the journal of an import: name another file"
        )

    def _take(self, number: int, line: bytes) -> None:
        """Take in a line of the file; raise InvalidArgument if it is none of a journal."""
        if number == 1:
            if line != _HEADER:
                raise self._no_journal(number)
            return
        try:
            record = json.loads(line)
            if "server" in record:
                self.server, self.address = str(record["server"]), str(record["address"])
            elif "begin" in record:
                self._began(Spans.parse(record["begin"]), int(record["after"]))
            else:
                self._ended(
                    Spans.parse(record["done"]),
                    Spans.parse(record["refused"]),
                    int(record["sum"]),
                    int(record["last"]),
                )
                self._got(Spans.parse(record.get("ids", "")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._no_journal(number) from None

    def _write(self, record: dict[str, Any]) -> None:
        data = json.dumps(record).encode() + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            error.filename = self.path
            raise
        if written < len(data):
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)


def is_journal(path: str) -> bool:
    """Return whether a file is the journal of an import. Raises OSError."""
    with open(path, "rb") as file:
        return file.readline(len(_HEADER)) == _HEADER


def checksum_of(line: bytes, number: int) -> int:
    """Return the checksum of a line, which depends on its number too."""
    return zlib.crc32(line, number & 0xFFFFFFFF)
