"""The table of commands: the lines that they make, and the arguments that they check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import errors
from beanstalkt.protocol.arguments import MAX_JOB_ID, MAX_NUMBER, MAX_TIMEOUT, Number
from beanstalkt.protocol.commands import COMMANDS, MAX_COMMAND_LINE, Command, encode_put, put_form


def largest(command: Command) -> list[object]:
    """The longest value of each argument."""
    return [each.limit if isinstance(each, Number) else "t" * 200 for each in command.arguments]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_longest_line_of_every_command_fits(command: Command) -> None:
    line = command.encode(*largest(command))
    assert line.startswith(command.verb.encode())
    assert line.endswith(b"\r\n")
    assert line.count(b"\r\n") == 1
    assert len(line) <= MAX_COMMAND_LINE


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_argument_of_every_command_is_checked(command: Command) -> None:
    for position, argument in enumerate(command.arguments):
        bad: list[object] = [None, True, 1.0, b"7", [], object()]
        if isinstance(argument, Number):
            bad += ["7", -1, argument.limit + 1, 10**5000]
        else:
            bad += [7, "", "-a", "a b", "a\r\n", "a\n", "t" * 201, "tübe", "a\0", "t" * 10**6]
        for value in bad:
            values = largest(command)
            values[position] = value
            with pytest.raises(errors.InvalidArgument):
                command.encode(*values)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_number_of_arguments_is_checked(command: Command) -> None:
    with pytest.raises((TypeError, ValueError), match=r"zip|argument"):
        command.encode(*largest(command), 1)


def test_limits_are_those_of_the_protocol() -> None:
    limits = {
        argument.name: argument.limit
        for command in COMMANDS.values()
        for argument in command.arguments
        if isinstance(argument, Number)
    }
    assert limits == {
        "priority": MAX_NUMBER,
        "delay": MAX_NUMBER,
        "ttr": MAX_NUMBER,
        "size of the body": MAX_NUMBER,
        "bound": MAX_NUMBER,
        "timeout": MAX_TIMEOUT,
        "job id": MAX_JOB_ID,
    }


@given(
    st.integers(0, MAX_NUMBER), st.integers(0, MAX_NUMBER), st.integers(0, MAX_NUMBER), st.binary()
)
def test_put(priority: int, delay: int, ttr: int, body: bytes) -> None:
    expected = f"put {priority} {delay} {ttr} {len(body)}\r\n".encode() + body + b"\r\n"
    assert encode_put(priority, delay, ttr, body) == expected
    assert put_form(priority, delay, ttr) % (len(body), body) == expected


@pytest.mark.parametrize(
    "bad", [-1, 2**32, True, 1.0, "1", None, [], pytest.param(1 << 20000, id="huge")]
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_put_refuses_bad_numbers(bad: Any, position: int) -> None:
    numbers: list[Any] = [1, 1, 1]
    encode_put(1, 1, 1, b"body")  # what was good once makes nothing good that only equals it
    numbers[position] = bad
    priority, delay, ttr = numbers
    with pytest.raises(errors.InvalidArgument):
        encode_put(priority, delay, ttr, b"body")
    with pytest.raises(errors.InvalidArgument):
        put_form(priority, delay, ttr)


class Whole(int):
    """An int of another type, as an enumeration is."""


def test_put_takes_every_kind_of_int() -> None:
    assert encode_put(Whole(1), Whole(2), Whole(3), b"x") == b"put 1 2 3 1\r\nx\r\n"
    assert put_form(Whole(1), Whole(2), Whole(3)) == b"put 1 2 3 %d\r\n%b\r\n"
