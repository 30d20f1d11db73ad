"""The exit status of each error."""

from __future__ import annotations

import pytest

from beanstalkt import errors
from beanstalkt.cli.exit_status import exit_status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound(), 1),
        (errors.TimedOut(), 1),
        (errors.DeadlineSoon(), 1),
        (errors.Buried(), 1),
        (errors.JobTooBig(), 1),
        (errors.BadFormat(), 1),
        (errors.InvalidArgument(), 2),
        (errors.ConnectionLost(), 69),
        (errors.ReservationLost(), 69),
        (errors.UnexpectedResponse(), 69),
    ],
)
def test_the_exit_status_of_an_error(error: errors.BeanstalkException, status: int) -> None:
    assert exit_status_of(error) == status
