"""The source distribution and the wheel: built, read, installed and used, without a network."""

from __future__ import annotations

import email
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.version import Version

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parent.parent
PROTOCOL = "beanstalkt/protocol/protocol.txt"
TIMEOUT = 300  # seconds; a command that takes longer hangs

GENERATED = re.compile(
    r"(^|/)(\.git|\.venv|build|dist|__pycache__|\.hypothesis|\.\w+_cache|[^/]+\.egg-info)/"
    r"|\.pyc$|^(PKG-INFO|setup\.cfg)$"
)
"""Paths that are found beside the files of the repository, after it was unpacked and used."""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the settings of Python and pytest in this environment."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "BEANSTALK", "COV_"))
    }
    return subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def checked(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = run(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repository() -> set[str]:
    """Return the files of the repository or unpacked source distribution around this file."""
    if (ROOT / ".git").exists():
        done = run("git", "ls-files", "-z", cwd=ROOT)
        if done.returncode == 0:  # not in a repository of another user, for example
            return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}
    names = [file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*") if file.is_file()]
    return {name for name in names if not GENERATED.search(name)}


# --- building -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """Both distributions, made of a copy of the repository."""

    sdist: Path
    wheel: Path

    def sdist_names(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {each.name.partition("/")[2] for each in archive if not each.isdir()}

    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def read(self, name: str) -> str:
        """Return a file of the wheel; METADATA and the like are found by their last name."""
        with zipfile.ZipFile(self.wheel) as archive:
            (found,) = [each for each in archive.namelist() if f"/{each}".endswith(f"/{name}")]
            return archive.read(found).decode()

    def metadata(self) -> Metadata:
        """Return the metadata. Raises an exception if an index would refuse it."""
        return Metadata.from_email(self.read("METADATA"), validate=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    source = tmp_path_factory.mktemp("source")
    for name in repository():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    checked(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=source)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def test_the_source_distribution_is_the_repository(built: Built) -> None:
    generated = {name for name in built.sdist_names() if GENERATED.search(name)}
    assert built.sdist_names() - generated == repository()


def test_the_wheel_is_the_package(built: Built) -> None:
    names = {name for name in built.wheel_names() if ".dist-info/" not in name}
    assert names == {name for name in repository() if name.startswith("beanstalkt/")}
    assert {"beanstalkt/py.typed", PROTOCOL} <= names
    assert built.read("licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_the_protocol_that_is_installed_is_the_one_in_doc(built: Built) -> None:
    text = (ROOT / "doc/protocol.txt").read_text()
    assert (ROOT / PROTOCOL).read_text() == text
    assert built.read(PROTOCOL) == text
    if (ROOT / ".git").exists():
        assert (ROOT / PROTOCOL).samefile(ROOT / "doc/protocol.txt")


# --- the metadata -------------------------------------------------------------------------


def test_the_metadata_is_valid_and_complete(built: Built) -> None:
    metadata = built.metadata()
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.license_files == ["LICENSE"]
    assert not [each for each in metadata.classifiers or [] if each.startswith("License ::")]
    assert email.message_from_string(built.read("METADATA"))["Author"]
    assert metadata.summary
    assert metadata.project_urls
    assert all(url.startswith("https://") for url in metadata.project_urls.values())
    assert str(metadata.requires_python) == ">=3.10"
    assert [str(each) for each in metadata.requires_dist or [] if not each.marker] == [
        "tornado>=6.4"
    ]


def _words(text: str) -> list[str]:
    return text.split()


def _label(link: re.Match[str]) -> str:
    """What is left of a link that needs the repository: its text; of a picture: nothing."""
    return "" if link[0].startswith("!") else link[1]


def test_no_link_of_the_readme_needs_a_checkout(built: Built) -> None:
    """On the page of an index there is neither the repository nor an anchor to a heading."""
    text = built.metadata().description or ""
    readme = (ROOT / "README.md").read_text()
    assert _words(text) == _words(re.sub(r"!?\[([^]]*)\]\((?!https:)[^)]*\)", _label, readme))
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)]*)\)|^\[[^]]+\]: *(\S+)|(?:href|src)=\"([^\"]*)", prose, re.M)
    targets = ["".join(link) for link in links]
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_version_is_that_of_the_changelog(built: Built) -> None:
    version = built.metadata().version
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(
        r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?\n(.*?)(?=^## |\Z)", text, re.M | re.S
    )
    assert len(sections) == len(re.findall(r"^## ", text, re.M))
    unreleased = [changes.strip() for name, _, changes in sections if name == "Unreleased"]
    released = [(Version(name), day) for name, day, _ in sections if name != "Unreleased"]
    assert all(day for _, day in released)
    assert [each for each, _ in released] == sorted((each for each, _ in released), reverse=True)
    if version.is_devrelease:
        assert any(unreleased)
        assert all(version > each for each, _ in released)
    else:
        assert not any(unreleased)
        assert version == released[0][0]


def test_it_is_called_stable_from_1_0_on(built: Built) -> None:
    metadata = built.metadata()
    status = "5 - Production/Stable" if metadata.version >= Version("1.0") else "4 - Beta"
    statuses = [each for each in metadata.classifiers or [] if each.startswith("Development")]
    assert statuses == [f"Development Status :: {status}"]


# --- installed ----------------------------------------------------------------------------


def link(directory: Path, *requirements: Requirement) -> None:
    """Link distributions that these tests run with, and what they require, into a directory."""
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        distribution = importlib.metadata.distribution(requirement.name)
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        assert tops, f"{requirement.name} does not say what its files are"
        if any((directory / top).exists() for top in tops if top.endswith(".dist-info")):
            continue
        for top in tops:
            (directory / top).symlink_to(Path(str(distribution.locate_file(top))))
        link(directory, *(Requirement(each) for each in distribution.requires or []))


@pytest.fixture(scope="module")
def bin_directory(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, what it requires, and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True, with_pip=False)
    programs = environment / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet")
    checked(*pip, "--no-index", "--no-deps", built.wheel, cwd=environment)
    (site,) = environment.glob("lib/python*/site-packages")
    link(site, *(built.metadata().requires_dist or []))
    return programs


def test_the_command_of_the_wheel(built: Built, bin_directory: Path, tmp_path: Path) -> None:
    version = f"beanstalkt {built.metadata().version}\n"
    commands: list[list[str | Path]] = [
        [bin_directory / "beanstalkt"],
        [bin_directory / "python", "-m", "beanstalkt"],
    ]
    for words in commands:
        assert checked(*words, "--version", cwd=tmp_path) == version
        assert checked(*words, "put", "-h", cwd=tmp_path).startswith("usage: beanstalkt put ")
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: beanstalkt ")


PUT_AND_RESERVE = """
import asyncio
import beanstalkt

async def main():
    server = beanstalkt.server.Server()
    server.listen(0, "127.0.0.1")
    async with beanstalkt.Client(*server.address) as client:
        await client.put("a job")
        job = await client.reserve(timeout=10)
        await job.delete()
    server.stop()
    print(job, beanstalkt.__version__)

asyncio.run(main())
"""


def test_a_program_with_the_wheel(built: Built, bin_directory: Path, tmp_path: Path) -> None:
    out = checked(bin_directory / "python", "-W", "error", "-c", PUT_AND_RESERVE, cwd=tmp_path)
    assert out == f"{{'body': b'a job', 'id': 1}} {built.metadata().version}\n"


PLUGIN = """
import pytest

@pytest.mark.asyncio
async def test_put(beanstalkt_client):
    assert await beanstalkt_client.put("a job") == 1
"""


def test_the_pytest_plugin_of_the_wheel(bin_directory: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    link(tools, Requirement("pytest"), Requirement("pytest-asyncio"))
    (tmp_path / "test_it.py").write_text(PLUGIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    pytest_options = ("-q", "-o", "asyncio_default_fixture_loop_scope=function")
    words = (bin_directory / "python", "-m", "pytest", *pytest_options)
    assert "1 passed" in checked(*words, cwd=tmp_path, PYTHONPATH=str(tools))


# --- unpacked -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built.sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # not before 3.10.12 and 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(directory)
    (top,) = directory.iterdir()
    return top


PYTEST = (sys.executable, "-m", "pytest", "-q", "-o", "addopts=-p no:asyncio")


def test_the_unpacked_tests_find_the_package_beside_them(unpacked: Path) -> None:
    """Not the one that is installed here."""
    code = "import beanstalkt; print(beanstalkt.__file__)"
    assert Path(checked(sys.executable, "-c", code, cwd=unpacked).strip()).is_relative_to(unpacked)


def test_the_unpacked_tests_pass(unpacked: Path) -> None:
    """Run some of the fast ones, and those that read the sample configuration and the demo.

    All of them are run by ``make release-check``. That they are all there, with what they import,
    is shown by the comparison with the files of the repository.
    """
    names = ("test_errors.py", "test_job.py", "test_demo.py", "worker/test_contrib.py")
    assert " passed" in checked(*PYTEST, *(f"tests/{name}" for name in names), cwd=unpacked)
