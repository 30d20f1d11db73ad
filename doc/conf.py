"""Configuration of Sphinx, which builds the site out of this folder: ``make docs``."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "beanstalkt"
author = "The beanstalkt contributors"
version = release = installed_version("beanstalkt")

extensions = [
    "myst_parser",  # the pages are Markdown
    "sphinx.ext.autodoc",  # the reference is made of the docstrings
    "generated",  # _ext/generated.py: the command line and the options, out of the parser
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
# A name that two modules have, such as Client: the link leads to the first.
suppress_warnings = ["ref.python"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
autodoc_type_aliases = {"Future": "asyncio.Future", "Callback": "Callback"}

html_theme = "furo"
html_title = f"beanstalkt {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
