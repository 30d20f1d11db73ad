"""The parser: cuts the bytes that a server sends into replies (section 1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import UnexpectedResponse

MAX_REPLY_LINE = 1024
"""The length of the longest line that is taken for a reply, in bytes, without CR LF.

No beanstalkd sends a line half as long.
"""

MAX_REPLY_BODY = 2**30 + 2**20
"""The length of the longest data that is taken for part of a reply, in bytes.

No beanstalkd accepts a job of more than 1 GiB.
"""

WITH_DATA = frozenset({b"RESERVED", b"FOUND", b"OK"})
"""The statuses of the replies whose last word is the size of the data that follows the line."""

Reply = tuple[list[bytes], bytes]
"""A reply: the words of its line, and the data that followed it (empty if there was none)."""

_INSERTED = re.compile(rb"(?:INSERTED [0-9]{1,20}\r\n)+")
_MAX_INSERTED = len("INSERTED ") + 20 + len("\r\n")  # bytes
_SEPARATOR = "\r\nINSERTED "

_SMALL = 512
"""The length below which a piece of data is copied together with the one before, in bytes.

It bounds the number of pieces, and with it the memory, however small a server sends them.
"""


class Parser:
    """Cut what a server sends into replies, however the bytes are split.

    What is kept between two calls is bounded by the limits above. After UnexpectedResponse the
    stream is out of step, and the parser must not be used again.
    """

    def __init__(self) -> None:
        #: the bytes of the reply under way that are still to come, CR LF included, once its line
        #: has announced them; 0 while no data is under way
        self.missing = 0
        #: the beginning of a line, as far as it has come
        self.rest = b""
        self._words: list[bytes] = []  # the line whose data is under way
        self._pieces: list[bytes | bytearray | memoryview] = []  # what has come of that data

    def single(self, chunk: bytes) -> Reply | None:
        """Return the reply that `chunk` is, if it is one whole reply and nothing else.

        It is the fast way for what comes when commands are sent one at a time. Takes in nothing
        otherwise: the chunk must be given to :meth:`feed`.
        """
        if self.rest or self.missing:
            return None
        end = chunk.find(b"\r\n")
        if not 0 <= end <= MAX_REPLY_LINE:
            return None
        words = chunk[:end].split(b" ")
        size = len(chunk) - end - 4  # of the data, between two CR LF
        if words[0] not in WITH_DATA:
            return (words, b"") if size == -2 else None
        # Long data is copied once: it is cut out only when it is known to be whole.
        if size >= 0 and chunk[-2:] == b"\r\n" and words[-1] == b"%d" % size:
            return words, chunk[end + 2 : -2]
        return None

    def inserted(self, chunk: bytes, limit: int) -> tuple[list[int], bytes]:
        """Return the ids of the ``INSERTED`` replies at the beginning of `chunk`, and the rest.

        It is the fast way for a caller whose oldest `limit` requests are puts: no more than that
        many replies are taken. The rest must be given to :meth:`feed`, or to this method again,
        before the next chunk; it begins with whatever is not a whole ``INSERTED`` reply.
        """
        if self.missing:
            return [], chunk
        if self.rest:
            chunk = self.rest + chunk
            self.rest = b""
        # The search goes no further than the longest such replies could reach, so that a small
        # limit costs little however long the chunk is.
        match = _INSERTED.match(chunk, 0, limit * _MAX_INSERTED)
        if match is None:
            return [], chunk
        end = match.end()
        texts = chunk[len(b"INSERTED ") : end - 2].decode("ascii").split(_SEPARATOR, limit)
        if len(texts) > limit:
            end -= len("INSERTED ") + len(texts.pop()) + len("\r\n")
        return [*map(int, texts)], chunk[end:]

    def repeated(self, chunk: bytes, line: bytes, limit: int) -> tuple[int, bytes]:
        """Return how many times `chunk` begins with `line`, up to `limit`, and the rest.

        It is for a caller who expects the same reply many times. What is returned as the rest must
        be given to :meth:`feed`, or to such a method again, before the next chunk.

        :param line: a reply without data, with its CR LF
        """
        if self.missing:
            return 0, chunk
        if self.rest:
            chunk = self.rest + chunk
            self.rest = b""
        size = len(line)
        count = 0
        while count < limit and chunk.startswith(line, count * size):
            count += 1
        return count, chunk[count * size :] if count else chunk

    def feed(self, chunk: bytes) -> Iterator[Reply]:
        """Yield the replies that `chunk` completes; take all of them before the next call.

        Raises UnexpectedResponse if the bytes are no replies.
        """
        position = 0
        if self.missing:
            if len(chunk) < self.missing:
                self._keep(chunk)
                return
            position = self.missing
            yield self._complete(chunk)
        elif self.rest:
            chunk = self.rest + chunk
            self.rest = b""
        while (end := chunk.find(b"\r\n", position)) >= 0:
            if end - position > MAX_REPLY_LINE:
                break
            words = chunk[position:end].split(b" ")
            position = end + 2
            if words[0] not in WITH_DATA:
                yield words, b""
                continue
            end = position + _size_of_data(words)
            if len(chunk) < end + 2:
                self.missing = end + 2 - position
                self._words = words
                self._keep(memoryview(chunk)[position:])
                return
            if chunk[end : end + 2] != b"\r\n":
                raise _bad_end(words)
            yield words, chunk[position:end]
            position = end + 2
        # Where the pieces of a line end must not matter: a CR may be the half of its end.
        if len(chunk) - position - chunk.endswith(b"\r") > MAX_REPLY_LINE:
            raise UnexpectedResponse(
                f"the server sent a line of more than {MAX_REPLY_LINE} bytes, which begins with "
                f"{chunk[position : position + 50]!r}: it is not beanstalkd"
            )
        self.rest = chunk[position:]

    def _keep(self, piece: bytes | memoryview) -> None:
        """Keep a piece of the data under way, which does not complete it."""
        self.missing -= len(piece)
        pieces = self._pieces
        if len(piece) >= _SMALL:
            pieces.append(piece)
        elif pieces and isinstance(pieces[-1], bytearray):
            pieces[-1] += piece
        elif piece:
            pieces.append(bytearray(piece))

    def _complete(self, chunk: bytes) -> Reply:
        """Return the reply whose data `chunk` completes; the data is copied once."""
        words, pieces, missing = self._words, self._pieces, self.missing
        if missing == 1:  # the CR has come already, with the last piece
            chunk = b"".join((pieces.pop(), chunk[:1]))
            missing = len(chunk)
        if chunk[missing - 2 : missing] != b"\r\n":
            raise _bad_end(words)
        data = b"".join([*pieces, memoryview(chunk)[: missing - 2]])
        self.missing = 0
        self._words = []
        self._pieces = []
        return words, data


def _size_of_data(words: list[bytes]) -> int:
    """Return the size of the data that a reply's line announces; raise UnexpectedResponse."""
    last = words[-1]
    if len(words) < 2 or not last.isdigit() or len(last) > 20:
        raise UnexpectedResponse(
            f"the server sent {b' '.join(words)!r:.200}, which does not end with the size of its "
            "data",
            status=words[0].decode(),
            values=tuple(word.decode("latin-1") for word in words[1:]),
        )
    size = int(last)
    if size > MAX_REPLY_BODY:
        raise UnexpectedResponse(
            f"the server announced {size} bytes of data in {b' '.join(words)!r:.200}, more than "
            f"the {MAX_REPLY_BODY} that are accepted: it is not beanstalkd",
            status=words[0].decode(),
        )
    return size


def _bad_end(words: list[bytes]) -> UnexpectedResponse:
    """Return the error for data without CR LF where it should end."""
    return UnexpectedResponse(
        f"the data of {b' '.join(words)!r} does not end where its size says",
        status=words[0].decode(),
    )
