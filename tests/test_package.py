"""What ``import beanstalkt`` brings: names at once, names that are looked up late, the version."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tornado

import beanstalkt
import beanstalkt.django
import beanstalkt.sql

CHECKOUT = Path(__file__).parent.parent
LATE_MODULES = ["admin", "blocking", "client", "dispatch", "pool", "server", "worker"]
LATE_NAMES = [
    *("Client", "Pool", "PoolJob", "Reject", "Retry", "SafeTask", "Worker", "WorkerJob"),
]


def run(*arguments: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", LATE_MODULES)
def test_a_module_is_there_without_an_import_of_its_own(name: str) -> None:
    program = f"""if True:
        import beanstalkt, sys
        full = "beanstalkt.{name}"
        assert full not in sys.modules
        assert beanstalkt.{name} is sys.modules[full]
    """
    done = run("-c", program)
    assert done.returncode == 0, done.stderr


def test_dir_has_the_late_names_before_they_are_used() -> None:
    program = "import beanstalkt; print(*set(dir(beanstalkt)) - set(vars(beanstalkt)))"
    done = run("-c", program)
    assert set(done.stdout.split()) == {*LATE_MODULES, *LATE_NAMES, "__version__"}, done.stderr


def test_every_name_of_dir_can_be_looked_up() -> None:
    assert [name for name in dir(beanstalkt) if not hasattr(beanstalkt, name)] == []


def test_a_late_name_is_looked_up_once() -> None:
    assert beanstalkt.Worker is beanstalkt.worker.Worker
    assert beanstalkt.SafeTask is beanstalkt.dispatch.SafeTask
    assert {"Worker", "worker", "SafeTask", "dispatch"} <= set(vars(beanstalkt))


def test_another_name_is_an_error_to_python_and_to_type_checkers() -> None:
    with pytest.raises(AttributeError, match="'beanstalkt' has no attribute 'nonsense'"):
        beanstalkt.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_so_it_is_in_the_packages() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.blocking.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.client.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.dispatch.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.worker.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.sql.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        beanstalkt.django.nonsense  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "package",
    [
        *(beanstalkt.blocking, beanstalkt.client, beanstalkt.dispatch, beanstalkt.worker),
        *(beanstalkt.sql, beanstalkt.django),
    ],
    ids=lambda package: str(package.__name__),
)
def test_dir_of_a_package_has_its_late_names(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))


def test_the_job_of_a_handler_is_public() -> None:
    from beanstalkt.worker.handlers.base import Work

    assert beanstalkt.WorkerJob is beanstalkt.worker.WorkerJob is Work
    assert issubclass(beanstalkt.WorkerJob, beanstalkt.Job)
    assert (beanstalkt.WorkerJob.__doc__ or "").startswith("A job as a handler gets it")


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert beanstalkt.__version__ == importlib.metadata.version("beanstalkt")


def test_a_checkout_that_is_not_installed_has_a_version(tmp_path: Path) -> None:
    """Without the metadata, as with PYTHONPATH=checkout."""
    (tmp_path / "beanstalkt").symlink_to(CHECKOUT / "beanstalkt")
    (tmp_path / "tornado").symlink_to(Path(tornado.__file__).parent)
    # -S: without the site-packages in which it is installed
    program = "import sys; sys.path.insert(0, '.'); "
    done = run(
        "-S", "-c", program + "import beanstalkt; print(beanstalkt.__version__)", cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("0+unknown\n", "")
    done = run("-S", "-m", "beanstalkt", "--version", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("beanstalkt 0+unknown\n", "")


def test_the_package_is_the_command_line() -> None:
    done = run("-m", "beanstalkt", "--version")
    assert (done.returncode, done.stdout) == (0, f"beanstalkt {beanstalkt.__version__}\n")
    done = run("-m", "beanstalkt", "put", "-h")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: beanstalkt put ")
    done = run("-m", "beanstalkt")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: beanstalkt ")
