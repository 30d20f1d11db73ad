"""The record of a job: what the server knows of it, and its body."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from ..protocol import stats

State = Literal["ready", "delayed", "buried", "reserved"]
"""The state of a job (section 2.1)."""

STATES: tuple[State, ...] = get_args(State)
"""Every state, in the order in which they are shown."""

SETTLED_STATES: frozenset[State] = frozenset({"ready", "delayed", "buried"})
"""The states in which no connection holds the job, so that an administrator may delete it."""

INCOMPLETE = "invalid"
"""The state that the server reports of a job whose body it has not received whole."""


@dataclass(slots=True)
class JobRecord:
    """Hold what was seen of a job at one moment; times are in seconds.

    The counters count what happened since the job was put, or since the server was started: a
    server that restores its jobs from a binlog begins them again.
    """

    id: int
    tube: str
    state: State
    #: 0 is the most urgent
    priority: int
    #: since it was put
    age: int
    #: of the last put or release
    delay: int
    #: how long a worker may hold it
    ttr: int
    #: until it is ready, or until its worker loses it; 0 in other states
    time_left: int
    reserves: int
    timeouts: int
    releases: int
    buries: int
    kicks: int
    #: None where it was not asked for
    body: bytes | None = None
    #: the name of the server that has it, where there are several; None where there is one
    server: str | None = None

    @property
    def name(self) -> int | str:
        """The id, after the name of the server and a slash if there are several servers."""
        return self.id if self.server is None else f"{self.server}/{self.id}"

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON can write it.

        A body that is not UTF-8 is in base64, with ``"encoding": "base64"``; a record without a
        body has neither of the two keys. Where there are several servers, the id is a str such as
        ``"a/17"``.
        """
        found: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        found["id"] = self.name
        if self.body is not None:
            try:
                found["body"] = self.body.decode()
            except UnicodeDecodeError:
                found["body"] = base64.b64encode(self.body).decode()
                found["encoding"] = "base64"
        return found


def unread(job_id: int, tube: str, state: State) -> JobRecord:
    """Return the record of a job of which no more is known."""
    return JobRecord(job_id, tube, state, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


_NUMBERS = tuple(each.name for each in fields(JobRecord) if each.name not in ("body", "server"))

# As every beanstalkd writes it. Read in one go, since a scan reads millions of these.
_AS_WRITTEN = re.compile(
    rb'---\nid: (\d+)\ntube: "?([!-~]+?)"?\nstate: ([a-z]+)\npri: (\d+)\nage: (\d+)\n'
    rb"delay: (\d+)\nttr: (\d+)\ntime-left: (-?\d+)\nfile: \d+\nreserves: (\d+)\n"
    rb"timeouts: (\d+)\nreleases: (\d+)\nburies: (\d+)\nkicks: (\d+)\n"
)


def read_record(data: bytes) -> JobRecord:
    """Return the record that the data of a reply to stats-job stands for.

    Raises ValueError if the data does not have what a record needs.
    """
    match = _AS_WRITTEN.fullmatch(data)
    if match is None:
        return record_of(stats.parse_job(data))
    job_id, tube, state, *others = match.groups()
    numbers: list[Any] = [*map(int, others)]
    return JobRecord(int(job_id), tube.decode(), cast(State, state.decode()), *numbers)


def record_of(found: dict[str, stats.Value]) -> JobRecord:
    """Return the record for the statistics of a job; raise ValueError if some are missing."""
    try:
        values: list[Any] = [found[key] for key in _KEYS]
    except KeyError as error:
        raise ValueError(f"the statistics of a job do not have {error}") from None
    return JobRecord(*values)


_KEYS = (
    *("id", "tube", "state", "pri", "age", "delay", "ttr", "time-left"),
    *("reserves", "timeouts", "releases", "buries", "kicks"),
)
