"""The tree of the exceptions, as programs catch them."""

from __future__ import annotations

import inspect
import pickle

import pytest

import beanstalkt
from beanstalkt import errors

REFUSALS = [
    *("NotFound", "NotIgnored", "JobTooBig", "Draining", "OutOfMemory"),
    *("BadFormat", "ExpectedCrlf", "InternalError", "UnknownCommand"),
]
TREE = {
    "BeanstalkException": {Exception},
    "ConnectionLost": {errors.BeanstalkException, ConnectionError},
    "ReservationLost": {errors.ConnectionLost},
    "InvalidArgument": {errors.BeanstalkException, ValueError},
    "UnexpectedResponse": {errors.BeanstalkException},
    "CommandFailed": {errors.BeanstalkException},
    **{name: {errors.CommandFailed} for name in REFUSALS},
    "Buried": {errors.BeanstalkException},
    "TimedOut": {errors.BeanstalkException, TimeoutError},
    "DeadlineSoon": {errors.BeanstalkException},
}


def test_the_tree_is_as_drawn() -> None:
    classes = {
        name: set(kind.__bases__)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert classes == TREE
    drawing = errors.__doc__ or ""
    assert all(name in drawing for name in TREE)


@pytest.mark.parametrize("name", TREE)
def test_every_error_is_public_and_has_its_attributes(name: str) -> None:
    kind = getattr(beanstalkt, name)
    error = kind("message", command="put")
    assert (str(error), error.command, error.status, error.values) == ("message", "put", None, ())
    assert error.ids is None


def test_a_lost_connection_is_caught_as_an_oserror() -> None:
    assert issubclass(errors.ReservationLost, IOError)
    assert errors.ConnectionLost("gone").sent is False


def test_errors_can_be_pickled() -> None:
    error = errors.ConnectionLost("gone", command="put", sent=True)
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.command, twin.sent) == ("gone", "put", True)
