"""Executing what clients send."""

from __future__ import annotations

from typing import Any

from .commands import PREFIXES, ROWS, CommandRow, finish_put
from .engine import Engine
from .session import Session

MAX_UNSENT = 256 * 1024
"""Bytes of replies to one client from which on its next command waits until they were taken.

So a client that never reads costs no more memory than this and the longest reply.
"""


class Interpreter:
    """Execute the commands of each session on the engine, in order, with one reply to each.

    While a reserve of a session waits, the session's further commands wait as well. The owner of
    an interpreter calls :meth:`tick` when the engine's `next_deadline` has come, and after every
    call sends the replies of the sessions in the engine's `unsent`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def receive(self, session: Session, data: bytes) -> None:
        """Execute the commands in what a client has sent."""
        self.tick()
        session.reader.feed(data)
        self.resume(session)

    def half_close(self, session: Session) -> None:
        """Note that a client sends no more: a waiting reserve is answered TIMED_OUT (section 8.4).

        The session is marked as closing when all of its complete commands were executed.
        """
        self.tick()
        session.half_closed = True
        if session.waiting:
            self._engine.stop_waiting(session)
            session.reply(b"TIMED_OUT\r\n")
        self.resume(session)

    def close(self, session: Session) -> None:
        """Remove the session of a connection that has ended; a second call does nothing."""
        if session.number in self._engine.sessions:
            self.tick()
            self._engine.disconnect(session)
            self._resume_answered()

    def tick(self) -> None:
        """Read the clock, and do everything whose time has come."""
        self._engine.tick()
        if self._engine.answered:
            self._resume_answered()

    def resume(self, session: Session) -> None:
        """Execute the commands of `session` that can be executed now.

        Sessions whose waiting reserves are answered by that go on with their own commands.
        """
        self._run(session)
        if self._engine.answered:
            self._resume_answered()

    def _resume_answered(self) -> None:
        # Not at the moment of the answer, which is in the middle of another session's command.
        answered = self._engine.answered
        while answered:
            self._run(answered.popleft())

    def _run(self, session: Session) -> None:
        engine, reader = self._engine, session.reader
        session.stalled = False
        while not (session.waiting or session.closing or session.replies_size > MAX_UNSENT):
            if session.incoming:
                body = reader.body(session.incoming.size + 2)
                if body is None:
                    break
                engine.now = engine.clock()
                session.reply(finish_put(engine, session, body))
            elif session.discarding:
                if not reader.skipped():
                    break
                session.discarding = False
                session.reply(b"JOB_TOO_BIG\r\n")
            else:
                line = reader.line()
                if line is None:
                    break
                engine.now = engine.clock()
                reply = self._execute(session, line)
                if reply is not None:
                    session.reply(reply)
        else:
            session.stalled = session.replies_size > MAX_UNSENT and not session.closing
            return
        # What is left is the beginning of a command whose end the client will not send.
        if session.half_closed:
            session.closing = True

    def _execute(self, session: Session, line: bytes) -> bytes | None:
        """Execute one line; return the reply, or None if there is none yet."""
        if b"\0" in line:
            return b"BAD_FORMAT\r\n"
        space = line.find(b" ")
        row = ROWS.get(line[:space]) if space > 0 else None
        row = row or _row_by_prefix(line)
        if row is None:
            return b"UNKNOWN_COMMAND\r\n"
        match = row.pattern.fullmatch(line)
        if match is None:
            return b"BAD_FORMAT\r\n"
        values: list[Any] = []
        for text, limit in zip(match.groups(), row.limits, strict=True):
            if limit is None:
                values.append(text)
                continue
            number = int(text)
            if abs(number) > limit:
                return b"BAD_FORMAT\r\n"
            values.append(number)
        self._engine.command_counts[row.verb] += 1
        return row.run(self._engine, session, *values)


def _row_by_prefix(line: bytes) -> CommandRow | None:
    for verb in PREFIXES:
        if line.startswith(verb):
            return ROWS[verb]
    return None
