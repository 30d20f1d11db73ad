"""Standard streams that are closed or cannot be written.

Whole programs with such streams are tested in tests/integration/test_standard_streams.py.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from beanstalkt.cli.stdio import say

OPEN_CLOSED = """
import os
from beanstalkt.cli.stdio import open_closed, say
open_closed()
assert os.open("/", os.O_RDONLY) > 2
assert all(os.get_inheritable(number) for number in range(3))
say("nothing reads this")
"""


@pytest.mark.parametrize("redirect", ["", "0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_no_file_gets_the_number_of_a_standard_stream(redirect: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", OPEN_CLOSED],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert bool(done.stderr) == ("2>" not in redirect)


def test_a_message_names_its_speaker(capsys: pytest.CaptureFixture[str]) -> None:
    say("not found")
    say("listening", "beanstalkt[7]")
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "beanstalkt: not found\nbeanstalkt[7]: listening\n")


def test_a_message_that_cannot_be_written_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    # Closing the stream would fail if anything were left for the full device.
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say("not found")
        say("not found")
