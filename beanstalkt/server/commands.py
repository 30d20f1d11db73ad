"""The table of commands: how the line of each is read, and what it does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ..protocol.arguments import TUBE_NAME, Number, TubeName
from ..protocol.commands import COMMANDS
from . import stats
from .engine import Engine
from .session import Session
from .stored_job import JobState, StoredJob

Run = Callable[..., "bytes | None"]
"""A function that executes a command.

It is called with the engine, the session and the arguments of the line, numbers as int and names
as bytes. It returns the reply, or None if there is none or if it comes later.
"""


class CommandRow(NamedTuple):
    """Describe one command of the server."""

    verb: str
    #: matches a whole line; has a group for each argument
    pattern: re.Pattern[bytes]
    #: for each argument the largest number that it may be, or None if it is no number
    limits: tuple[int | None, ...]
    run: Run


ROWS: dict[bytes, CommandRow] = {}
"""All commands, by their verbs."""

PREFIXES = (
    b"reserve",
    b"quit",
    b"peek-ready",
    b"peek-delayed",
    b"peek-buried",
    b"stats",
    b"list-tubes-watched",
    b"list-tube-used",
    b"list-tubes",
    b"pause-tube",
)
"""The verbs that are recognised by the beginning of a line (section 1.2).

They are those without arguments, and pause-tube; all others are recognised only with a space after
them. A verb stands before those that are a prefix of it.
"""

_NAME = TUBE_NAME.pattern.encode()


def _pattern(arguments: tuple[Number | TubeName, ...]) -> bytes:
    """Return a pattern for arguments: numbers after one or more spaces, names after one."""
    return b"".join(
        rb" +([0-9]+)" if isinstance(argument, Number) else rb" (%b)" % _NAME
        for argument in arguments
    )


def _command(
    verb: str,
    pattern: bytes | None = None,
    arguments: tuple[Number | TubeName, ...] | None = None,
) -> Callable[[Run], Run]:
    """Return a decorator that enters a function into the table.

    The arguments are those of the protocol's own table unless they are given. `pattern` matches
    what follows the verb of a command whose line is not read in the usual way. The texts of its
    groups beyond the arguments are passed to the function as they are.
    """
    if arguments is None:
        arguments = COMMANDS[verb].arguments

    def enter(run: Run) -> Run:
        name = verb.encode()
        whole = re.compile(re.escape(name) + (pattern or _pattern(arguments)), re.DOTALL)
        limits = [each.limit if isinstance(each, Number) else None for each in arguments]
        limits += [None] * (whole.groups - len(limits))
        ROWS[name] = CommandRow(verb, whole, tuple(limits), run)
        return run

    return enter


def _find(engine: Engine, job_id: int, *states: JobState) -> StoredJob | None:
    job = engine.jobs.get(job_id)
    return job if job and job.state in states else None


def _find_held(engine: Engine, session: Session, job_id: int) -> StoredJob | None:
    job = engine.jobs.get(job_id)
    return job if job and job.holder == session.number else None


# --- putting (section 3) --------------------------------------------------------------------


@_command("put", rb" +([0-9]+) +([0-9]+) +([0-9]+) +([0-9]+)(.*)")
def _put(
    engine: Engine, session: Session, priority: int, delay: int, ttr: int, size: int, rest: bytes
) -> bytes | None:
    if size > engine.max_job_size:
        session.reader.skip(size + 2)
        session.discarding = True
        return None
    if rest:
        return b"BAD_FORMAT\r\n"
    session.is_producer = True
    session.incoming = engine.create_job(session.used_tube, priority, delay, ttr, size)
    return None


def finish_put(engine: Engine, session: Session, body: bytes) -> bytes:
    """Finish the put of `session` whose body has arrived; return the reply.

    :param body: the body and the two bytes after it
    """
    job, session.incoming = session.incoming, None
    if not job:
        raise RuntimeError("a body has arrived without a put")
    if not body.endswith(b"\r\n"):
        engine.remove_job(job)
        return b"EXPECTED_CRLF\r\n"
    if engine.draining:
        engine.remove_job(job)
        return b"DRAINING\r\n"
    job.body = body[:-2]
    engine.put(job)
    return b"INSERTED %d\r\n" % job.id


@_command("use")
def _use(engine: Engine, session: Session, name: bytes) -> bytes:
    engine.use(session, engine.open_tube(name))
    return b"USING %b\r\n" % name


# --- reserving and what follows it (section 4) ----------------------------------------------


@_command("reserve")
def _reserve(engine: Engine, session: Session, timeout: int | None = None) -> bytes | None:
    session.is_worker = True
    job = engine.choose_job(session)
    if job:
        engine.reserve(session, job)
        return None
    if engine.deadline_is_near(session):
        return b"DEADLINE_SOON\r\n"
    if timeout == 0 or session.half_closed:
        return b"TIMED_OUT\r\n"
    engine.wait(session, timeout)
    return None


# What follows the number does not count.
_command("reserve-with-timeout", rb" +([0-9]+).*")(_reserve)


@_command("reserve-job")
def _reserve_job(engine: Engine, session: Session, job_id: int) -> bytes | None:
    job = _find(engine, job_id, JobState.READY, JobState.DELAYED, JobState.BURIED)
    if not job:
        return b"NOT_FOUND\r\n"
    session.is_worker = True
    engine.reserve(session, job)
    return None


@_command("delete")
def _delete(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find_held(engine, session, job_id) or _find(
        engine, job_id, JobState.READY, JobState.DELAYED, JobState.BURIED
    )
    if not job:
        return b"NOT_FOUND\r\n"
    engine.delete(job)
    return b"DELETED\r\n"


@_command("release")
def _release(engine: Engine, session: Session, job_id: int, priority: int, delay: int) -> bytes:
    job = _find_held(engine, session, job_id)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.dequeue(job)
    job.priority = priority
    job.delay = delay
    job.releases += 1
    engine.enqueue(job, delay)
    return b"RELEASED\r\n"


@_command("bury")
def _bury(engine: Engine, session: Session, job_id: int, priority: int) -> bytes:
    job = _find_held(engine, session, job_id)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.dequeue(job)
    job.priority = priority
    engine.bury(job)
    return b"BURIED\r\n"


@_command("touch")
def _touch(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find_held(engine, session, job_id)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.touch(session, job)
    return b"TOUCHED\r\n"


@_command("watch")
def _watch(engine: Engine, session: Session, name: bytes) -> bytes:
    engine.watch(session, engine.open_tube(name))
    return b"WATCHING %d\r\n" % len(session.watched)


@_command("ignore")
def _ignore(engine: Engine, session: Session, name: bytes) -> bytes:
    tube = engine.tubes.get(name)
    if tube and tube in session.watched:
        if len(session.watched) == 1:
            return b"NOT_IGNORED\r\n"
        engine.ignore(session, tube)
    return b"WATCHING %d\r\n" % len(session.watched)


# --- peeking, kicking and pausing (section 5) -----------------------------------------------


def _found(job: StoredJob | None) -> bytes:
    if not job:
        return b"NOT_FOUND\r\n"
    # Until the body has arrived completely only its size is known.
    body = bytes(job.size) if job.state is JobState.INVALID else job.body
    return b"FOUND %d %d\r\n%b\r\n" % (job.id, job.size, body)


@_command("peek")
def _peek(engine: Engine, session: Session, job_id: int) -> bytes:
    return _found(engine.jobs.get(job_id))


@_command("peek-ready")
def _peek_ready(engine: Engine, session: Session) -> bytes:
    return _found(session.used_tube.ready.first())


@_command("peek-delayed")
def _peek_delayed(engine: Engine, session: Session) -> bytes:
    return _found(session.used_tube.delayed.first())


@_command("peek-buried")
def _peek_buried(engine: Engine, session: Session) -> bytes:
    return _found(session.used_tube.first_buried)


# Kick's number is read more loosely than any other: white space and a sign may precede it, and
# anything may follow it. It is reduced to 32 bits, a negative number counts down from 2^64, and
# only 2^64 or more is refused.
@_command("kick", rb" [ \t\n\v\f\r]*([+-]?[0-9]+).*", (Number("bound", 2**64 - 1),))
def _kick(engine: Engine, session: Session, number: int) -> bytes:
    tube, bound, kicked = session.used_tube, number % 2**32, 0
    # Delayed jobs are kicked only if the tube has no buried ones (section 5.2).
    buried = bool(tube.buried)
    while kicked < bound and (job := tube.first_buried if buried else tube.delayed.first()):
        engine.kick(job)
        kicked += 1
    return b"KICKED %d\r\n" % kicked


@_command("kick-job")
def _kick_job(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find(engine, job_id, JobState.DELAYED, JobState.BURIED)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.kick(job)
    return b"KICKED\r\n"


@_command("pause-tube", rb" *([A-Za-z0-9+/;.$_()-]+) +([0-9]+)")
def _pause_tube(engine: Engine, session: Session, name: bytes, delay: int) -> bytes:
    if not re.fullmatch(_NAME, name):
        return b"BAD_FORMAT\r\n"
    tube = engine.tubes.get(name)
    if not tube:
        return b"NOT_FOUND\r\n"
    engine.pause(tube, delay)
    return b"PAUSED\r\n"


# --- statistics and lists (section 6) -------------------------------------------------------


def _ok(data: bytes) -> bytes:
    return b"OK %d\r\n%b\r\n" % (len(data), data)


@_command("stats-job")
def _stats_job(engine: Engine, session: Session, job_id: int) -> bytes:
    job = engine.jobs.get(job_id)
    return _ok(stats.job_stats(engine, job)) if job else b"NOT_FOUND\r\n"


@_command("stats-tube")
def _stats_tube(engine: Engine, session: Session, name: bytes) -> bytes:
    tube = engine.tubes.get(name)
    return _ok(stats.tube_stats(engine, tube)) if tube else b"NOT_FOUND\r\n"


@_command("stats")
def _stats(engine: Engine, session: Session) -> bytes:
    return _ok(stats.server_stats(engine))


@_command("list-tubes")
def _list_tubes(engine: Engine, session: Session) -> bytes:
    return _ok(stats.tube_list(engine.tube_order))


@_command("list-tube-used")
def _list_tube_used(engine: Engine, session: Session) -> bytes:
    return b"USING %b\r\n" % session.used_tube.name


@_command("list-tubes-watched")
def _list_tubes_watched(engine: Engine, session: Session) -> bytes:
    return _ok(stats.tube_list(session.watched))


@_command("quit", b".*", ())
def _quit(engine: Engine, session: Session) -> None:
    session.closing = True
