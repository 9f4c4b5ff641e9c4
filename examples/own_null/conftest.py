"""Importing a file here is enough: the plugin finds what it declares, and xdist's workers do too."""

from crest import Crest  # noqa: F401
from exchanged_inputs import exchanged_inputs  # noqa: F401
