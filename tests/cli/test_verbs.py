"""The table of verbs agrees with the modules of their groups, which are imported late."""

from __future__ import annotations

import subprocess
import sys

import pytest

from beanstalkt import cmd
from beanstalkt.cli.description import describe
from beanstalkt.cli.verbs import ALIASES, GROUPS, load


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_the_verbs_of_the_table_and_no_other(group: str) -> None:
    module = __import__(f"beanstalkt.cli.{group}", fromlist=["VERBS"])
    assert list(module.VERBS) == list(GROUPS[group])
    for name in GROUPS[group]:
        assert load(group, name) is module.VERBS[name]


def test_a_name_is_that_of_one_verb() -> None:
    verbs = [name for summaries in GROUPS.values() for name in summaries]
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len({*verbs, *aliases}) == len(verbs) + len(aliases)
    assert set(ALIASES) <= set(verbs)


@pytest.mark.parametrize("words", [["-h"], ["put", "-h"], ["stats-job", "-h"], ["serve", "-h"]])
def test_the_verbs_do_not_import_what_they_do_not_use(words: list[str]) -> None:
    program = (
        "import sys, beanstalkt.cmd as cmd\n"
        f"try: cmd.main({words})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    )
    modules = set(done.stderr.split())
    used = [group for group in GROUPS if words[0] in GROUPS[group]]
    assert [group for group in GROUPS if f"beanstalkt.cli.{group}" in modules] == used
    assert not modules & {"tqdm", "textual", "importlib.metadata", "beanstalkt.worker", "aiohttp"}
    assert ("beanstalkt.server" in modules) == (words[0] == "serve")


@pytest.mark.parametrize(
    ("verb", "missing", "extra"),
    [("metrics", "prometheus_client", "metrics"), ("outbox", "sqlalchemy", "sql")],
)
def test_a_verb_without_its_extra_says_which_one_to_install(
    verb: str,
    missing: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in list(sys.modules):
        if name.startswith((f"beanstalkt.cli.{verb}", "beanstalkt.metrics.", "beanstalkt.sql.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match="2"):
        cmd.main([verb, "--help"])
    message = f"{verb} needs the package {missing}: pip install 'beanstalkt[{extra}]'"
    assert message in capsys.readouterr().err


def test_the_help_of_every_verb_has_an_example() -> None:
    _, verbs = describe()
    assert not [verb.name for verb in verbs if f"  beanstalkt {verb.name}" not in verb.epilog]
