"""The commands: how the line of each is read, and what it does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.arguments import TUBE_NAME, Number, TubeName
from ..protocol.commands import COMMANDS
from . import stats as report
from .job import Job, State

if TYPE_CHECKING:
    from .engine import Engine
    from .session import Session

Run = Callable[..., "bytes | None"]
"""Called with the engine, the session and the line's arguments, numbers as int, names as bytes.
Gives the reply; None if there is none, or not yet."""


class Row(NamedTuple):
    """A command."""

    verb: str
    #: the whole line; a group for each argument
    pattern: re.Pattern[bytes]
    #: of each argument: the largest number; None where it is no number
    limits: tuple[int | None, ...]
    run: Run


ROWS: dict[bytes, Row] = {}
"""Every command by its verb."""

_TUBE = TUBE_NAME.pattern.encode()


def _pattern(arguments: tuple[Number | TubeName, ...]) -> bytes:
    """Numbers stand behind one or more spaces, and names behind one (section 1.2)."""
    return b"".join(
        rb" +([0-9]+)" if isinstance(argument, Number) else rb" (%b)" % _TUBE
        for argument in arguments
    )


def _command(
    verb: str,
    pattern: bytes | None = None,
    arguments: tuple[Number | TubeName, ...] | None = None,
) -> Callable[[Run], Run]:
    """Enter a function into the table, with the arguments that the protocol's table has.

    `pattern` is that of all that follows the verb, for those few that are read in a way of their
    own; groups beyond the arguments are given on as they are.
    """
    if arguments is None:
        arguments = COMMANDS[verb].arguments

    def enter(run: Run) -> Run:
        name = verb.encode()
        whole = re.compile(re.escape(name) + (pattern or _pattern(arguments)), re.DOTALL)
        limits = [a.limit if isinstance(a, Number) else None for a in arguments]
        limits += [None] * (whole.groups - len(limits))
        ROWS[name] = Row(verb, whole, tuple(limits), run)
        return run

    return enter


def execute(engine: Engine, session: Session, line: bytes) -> bytes | None:
    """Carry out one line; the reply, None if there is none yet."""
    if b"\0" in line:
        return b"BAD_FORMAT\r\n"
    space = line.find(b" ")
    row = ROWS.get(line[:space]) if space > 0 else None
    row = row or _by_prefix(line)
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
    engine.commands[row.verb] += 1
    return row.run(engine, session, *values)


def _by_prefix(line: bytes) -> Row | None:
    """The command of a line that has no space, or none behind a verb.

    The verbs that take nothing, and pause-tube, are known by how the line begins (section 1.2);
    all others only with the space behind them.
    """
    for verb in _PREFIXES:
        if line.startswith(verb):
            return ROWS[verb]
    return None


# The longer ones first.
_PREFIXES = (
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


def _find(engine: Engine, job_id: int, *states: State) -> Job | None:
    job = engine.jobs.get(job_id)
    return job if job and job.state in states else None


def _find_held(engine: Engine, session: Session, job_id: int) -> Job | None:
    job = engine.jobs.get(job_id)
    return job if job and job.holder is session else None


# --- putting (section 3) --------------------------------------------------------------------


@_command("put", rb" +([0-9]+) +([0-9]+) +([0-9]+) +([0-9]+)(.*)")
def _put(
    engine: Engine, session: Session, priority: int, delay: int, ttr: int, size: int, rest: bytes
) -> bytes | None:
    if size > engine.max_job_size:
        session.reader.skip(size + 2)
        session.skipping = True
        return None
    if rest:
        return b"BAD_FORMAT\r\n"
    session.producer = True
    session.incoming = engine.new_job(session.using, priority, delay, ttr, size)
    return None


def end_of_put(engine: Engine, session: Session, body: bytes) -> bytes:
    """The body of the put under way has come, with the two bytes behind it."""
    job, session.incoming = session.incoming, None
    if not job:
        raise RuntimeError("a body without a put")
    if not body.endswith(b"\r\n"):
        engine.forget(job)
        return b"EXPECTED_CRLF\r\n"
    if engine.draining:
        engine.forget(job)
        return b"DRAINING\r\n"
    job.body = body[:-2]
    engine.put(job)
    return b"INSERTED %d\r\n" % job.id


@_command("use")
def _use(engine: Engine, session: Session, name: bytes) -> bytes:
    engine.use(session, engine.open_tube(name))
    return b"USING %b\r\n" % name


# --- taking (section 4) ---------------------------------------------------------------------


@_command("reserve")
def _reserve(engine: Engine, session: Session, timeout: int | None = None) -> bytes | None:
    session.worker = True
    jobs = [job for tube in session.watched if (job := tube.next_job)]
    if jobs:
        job = min(jobs, key=lambda job: (job.priority, job.id))
        # As if it had waited, though for no time: whose turn is next depends on it.
        job.tube.waiting.add(session)
        job.tube.waiting.take()
        engine.reserve(session, job)
        return None
    if engine.deadline_is_near(session):
        return b"DEADLINE_SOON\r\n"
    if timeout == 0 or session.half_closed:
        return b"TIMED_OUT\r\n"
    engine.wait(session, timeout)
    return None


# What stands behind the number does not count.
_command("reserve-with-timeout", rb" +([0-9]+).*")(_reserve)


@_command("reserve-job")
def _reserve_job(engine: Engine, session: Session, job_id: int) -> bytes | None:
    job = _find(engine, job_id, State.READY, State.DELAYED, State.BURIED)
    if not job:
        return b"NOT_FOUND\r\n"
    session.worker = True
    engine.reserve(session, job)
    return None


@_command("delete")
def _delete(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find_held(engine, session, job_id) or _find(
        engine, job_id, State.READY, State.DELAYED, State.BURIED
    )
    if not job:
        return b"NOT_FOUND\r\n"
    job.tube.deletes += 1
    engine.take_back(job)
    engine.forget(job)
    return b"DELETED\r\n"


@_command("release")
def _release(engine: Engine, session: Session, job_id: int, priority: int, delay: int) -> bytes:
    job = _find_held(engine, session, job_id)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.take_back(job)
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
    engine.take_back(job)
    job.priority = priority
    engine.bury(job)
    return b"BURIED\r\n"


@_command("touch")
def _touch(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find_held(engine, session, job_id)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.touch(job)
    return b"TOUCHED\r\n"


@_command("watch")
def _watch(engine: Engine, session: Session, name: bytes) -> bytes:
    engine.watch(session, engine.open_tube(name))
    return b"WATCHING %d\r\n" % len(session.watched)


@_command("ignore")
def _ignore(engine: Engine, session: Session, name: bytes) -> bytes:
    tube = engine.find_tube(name)
    if tube and tube in session.watched:
        if len(session.watched) == 1:
            return b"NOT_IGNORED\r\n"
        engine.ignore(session, tube)
    return b"WATCHING %d\r\n" % len(session.watched)


# --- looking and moving (section 5) ---------------------------------------------------------


def _found(job: Job | None) -> bytes:
    if not job:
        return b"NOT_FOUND\r\n"
    # Of a body that is still on its way only the size is known.
    body = bytes(job.size) if job.state is State.INVALID else job.body
    return b"FOUND %d %d\r\n%b\r\n" % (job.id, job.size, body)


@_command("peek")
def _peek(engine: Engine, session: Session, job_id: int) -> bytes:
    return _found(engine.jobs.get(job_id))


@_command("peek-ready")
def _peek_ready(engine: Engine, session: Session) -> bytes:
    return _found(session.using.ready.first())


@_command("peek-delayed")
def _peek_delayed(engine: Engine, session: Session) -> bytes:
    return _found(session.using.delayed.first())


@_command("peek-buried")
def _peek_buried(engine: Engine, session: Session) -> bytes:
    return _found(session.using.first_buried)


# The number that is read most loosely: white space, a sign, and anything behind it. It is cut to
# 32 bits, a negative one counts down from 2^64, and only 2^64 or more is too much.
@_command("kick", rb" [ \t\n\v\f\r]*([+-]?[0-9]+).*", (Number("bound", 2**64 - 1),))
def _kick(engine: Engine, session: Session, number: int) -> bytes:
    tube, bound, kicked = session.using, number % 2**32, 0
    # One kind or the other, never both (section 5.2).
    buried = bool(tube.buried)
    while kicked < bound and (job := tube.first_buried if buried else tube.delayed.first()):
        engine.kick(job)
        kicked += 1
    return b"KICKED %d\r\n" % kicked


@_command("kick-job")
def _kick_job(engine: Engine, session: Session, job_id: int) -> bytes:
    job = _find(engine, job_id, State.DELAYED, State.BURIED)
    if not job:
        return b"NOT_FOUND\r\n"
    engine.kick(job)
    return b"KICKED\r\n"


@_command("pause-tube", rb" *([A-Za-z0-9+/;.$_()-]+) +([0-9]+)")
def _pause_tube(engine: Engine, session: Session, name: bytes, delay: int) -> bytes:
    if not re.fullmatch(_TUBE, name):
        return b"BAD_FORMAT\r\n"
    tube = engine.find_tube(name)
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
    return _ok(report.job(engine, job)) if job else b"NOT_FOUND\r\n"


@_command("stats-tube")
def _stats_tube(engine: Engine, session: Session, name: bytes) -> bytes:
    tube = engine.find_tube(name)
    return _ok(report.tube(engine, tube)) if tube else b"NOT_FOUND\r\n"


@_command("stats")
def _stats(engine: Engine, session: Session) -> bytes:
    return _ok(report.server(engine))


@_command("list-tubes")
def _list_tubes(engine: Engine, session: Session) -> bytes:
    return _ok(report.names(engine.tubes))


@_command("list-tube-used")
def _list_tube_used(engine: Engine, session: Session) -> bytes:
    return b"USING %b\r\n" % session.using.name


@_command("list-tubes-watched")
def _list_tubes_watched(engine: Engine, session: Session) -> bytes:
    return _ok(report.names(session.watched))


@_command("quit", b".*", ())
def _quit(engine: Engine, session: Session) -> None:
    session.closing = True
