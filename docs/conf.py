"""The configuration of Sphinx. Long tables of what the package declares are put into pages when they are built."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tables import LONG

project = "pytest-unineuron"
author = copyright = "the pytest-unineuron developers"
release = version = installed_version("pytest-unineuron")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
smartquotes = False
html_theme = "furo"
html_title = f"pytest-unineuron {release}"

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3
myst_substitutions = {name: table() for name, table in LONG.items()}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
