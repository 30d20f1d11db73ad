"""What pyproject.toml cannot say: the page of the package on an index, made of the README.

A link or a picture of the README that needs the repository would lead nowhere on that page.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).parent / "README.md"

PICTURE = re.compile(r"^!\[[^]]*\]\((?!https:)[^)]*\)\n\n", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!https:)[^)]*\)")

setup(
    long_description=LINK.sub(r"\1", PICTURE.sub("", README.read_text(encoding="utf-8"))),
    long_description_content_type="text/markdown",
)
