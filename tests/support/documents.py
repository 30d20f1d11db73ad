"""The documents, and the blocks of code that stand in them."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOC = ROOT / "doc"

GENERATED = ("command-line.md", "configuration.md", "metrics.md", "schema.md")
"""Pages that are made of the program, whose examples have tests of their own."""

PAGES = [page for page in sorted(DOC.rglob("*.md")) if page.name not in GENERATED]

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"

    @property
    def is_test(self) -> bool:
        """Whether pytest is to run it."""
        return self.language == "python" and "def test_" in self.text

    @property
    def is_annotated(self) -> bool:
        """Whether every function in it has annotations, so that mypy can check it."""
        functions = re.findall(r"def \w+\((.*?)\)(.)", self.text, re.DOTALL)
        return (
            self.language == "python"
            and bool(functions)
            and all(end == " " for _, end in functions)
        )


def blocks(*pages: Path) -> list[Block]:
    """The blocks of code of pages, in their order."""
    return [
        Block(page, number, language, textwrap.dedent(text))
        for page in pages
        for number, (_, language, text) in enumerate(_BLOCK.findall(page.read_text()))
    ]


def annotated(*pages: Path) -> Iterator[Block]:
    return (block for block in blocks(*pages) if block.is_annotated)


def write_annotated(folder: Path) -> None:
    """Write each annotated block into a file of its own, for mypy."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for block in annotated(ROOT / "README.md", *PAGES):
        name = re.sub(r"\W+", "_", str(block))
        (folder / f"{name}.py").write_text(block.text)


if __name__ == "__main__":
    write_annotated(Path(sys.argv[1]))
