"""A job by itself; what it does through a client is tested with a server."""

from __future__ import annotations

import copy
import pickle

import pytest

from beanstalkt import InvalidArgument, Job


def test_a_job_is_a_dict_with_attributes() -> None:
    job = Job(7, b"A job to work on")
    assert job == {"id": 7, "body": b"A job to work on"}
    assert (job.id, job.body) == (job["id"], job["body"]) == (7, b"A job to work on")
    assert isinstance(job, dict)


def test_it_prints_as_it_always_did() -> None:
    assert str(Job(1, b"A job to work on")) == "{'body': b'A job to work on', 'id': 1}"


@pytest.mark.parametrize("verb", ["delete", "release", "bury", "touch", "stats"])
def test_a_job_without_a_client_says_so(verb: str) -> None:
    with pytest.raises(InvalidArgument, match="no client"):
        getattr(Job(1, b""), verb)()


def test_a_copy_travels_without_the_client() -> None:
    job = Job(1, b"body", client=object(), origin=object())  # type: ignore[arg-type]
    for other in (pickle.loads(pickle.dumps(job)), copy.copy(job), copy.deepcopy(job)):
        assert type(other) is Job
        assert other == job
        assert other.origin is None
