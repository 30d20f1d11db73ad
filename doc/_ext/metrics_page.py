"""The reference of the metrics, out of what makes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

from beanstalkt.metrics.runner import RunnerCollector
from beanstalkt.metrics.runner_counts import RunnerCounts
from beanstalkt.metrics.server import ServerCollector
from beanstalkt.metrics.tubes import tube_text
from beanstalkt.worker.policy.outcome import Kind

SUFFIXES = {"counter": "_total", "info": "_info"}
"""What the name of a metric ends in, by its type, where the library adds that."""

INTRODUCTION = """\
# Metrics

This page is made of the program's own tables.
[How to use them](../howto/monitor.md#with-prometheus)

## Of servers

`beanstalkt metrics` and `/metrics` of the console have these. The label `server` is the name that
the server was given: `--server main=beanstalk://10.0.0.5`. A server that does not answer
completely and in time has `beanstalkd_up 0`, and nothing else.
"""

TUBES = """\
## Of tubes

Each has the labels `server` and `tube`; `beanstalkd_tube_jobs` also has `state`. A tube that is
gone has no metrics.
"""

RUNNER = """\
## Of a runner

`beanstalkt work --metrics HOST:PORT` serves these. `outcome` is how the work on a job ended:
OUTCOMES. `action` is what was done with the job: delete, release or bury, or what prevented it. A
histogram has buckets, `_sum` and `_count`.

`/healthz` answers 200, or 503 with the reasons: the server, or each of several, has been out of
reach for a minute, or a handler goes on past its time limit. `/status` is what the console reads
of a runner, as JSON.
"""

PROGRAM = """\
All of them have the `process_…` metrics of the process as well, on Linux.

## From a program

```{eval-rst}
.. autoclass:: beanstalkt.metrics.servers.ServerMetrics
   :members:

.. autoclass:: beanstalkt.metrics.runner.RunnerMetrics
   :members: counts, port
```
"""


def metrics() -> str:
    """Return the page about every metric."""
    return "\n".join(
        [
            INTRODUCTION,
            *table(ServerCollector(dict).collect()),
            TUBES,
            *tube_table(),
            RUNNER.replace("OUTCOMES", ", ".join(kind.value for kind in Kind)),
            *table(RunnerCollector(RunnerCounts()).collect()),
            PROGRAM,
        ]
    )


def table(families: Iterable[Metric]) -> Iterator[str]:
    """Yield the rows of a table of metrics."""
    yield "| metric | type | labels | meaning |"
    yield "| --- | --- | --- | --- |"
    for family in families:
        name = family.name + SUFFIXES.get(family.type, "")
        # What was made without a sample tells its labels in no other way.
        labels = ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
    yield ""


def tube_table() -> Iterator[str]:
    """Yield the rows of the table of the metrics of tubes, which are written as text at once."""
    yield "| metric | type | meaning |"
    yield "| --- | --- | --- |"
    heads = re.findall(r"# HELP (\S+) (.*)\n# TYPE \S+ (\w+)\n", tube_text({}))
    for name, meaning, kind in heads:
        yield f"| `{name}` | {kind} | {meaning} |"
    yield ""
