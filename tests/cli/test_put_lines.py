"""Which lines were put is told when one is refused, or the server is lost."""

from __future__ import annotations

import pytest

from beanstalkt import errors
from beanstalkt.cli.put_lines import report_failure

Ids = list[int | None]


@pytest.mark.parametrize(
    ("error", "ids", "status", "said"),
    [
        (
            errors.JobTooBig("put: JOB_TOO_BIG: large (put_many: 2 went in; see .ids)"),
            [1, None, 3],
            1,
            ["line 12 was not put: put: JOB_TOO_BIG: large", "no line after line 13 was put"],
        ),
        (
            errors.ConnectionLost("lost", sent=True),
            [1, None, None],
            69,
            [
                "lines 12-13 were perhaps not put: lost (beanstalk://h:1)",
                "no line after line 13 was put",
            ],
        ),
        (errors.ConnectionLost("lost"), [], 69, ["lost", "no line after line 10 was put"]),
    ],
)
def test_it_is_told_which_lines_were_put(
    error: errors.BeanstalkException,
    ids: Ids,
    status: int,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report_failure(error, " (beanstalk://h:1)", ids, 10) == status
    written = capsys.readouterr()
    assert written.out == ""
    assert "put_many" not in written.err
    lines = written.err.splitlines()
    assert len(lines) == len(said)
    for line, text in zip(lines, said, strict=True):
        assert line.startswith(f"beanstalkt: {text}")
