"""Imports that inner runs share.

When an inner run ends, pytester removes the modules that it imported. Numpy and torch cannot be imported twice in one
process, and all other modules would be imported again for every test.
"""

import hypothesis  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

from pytest_unineuron.lab import lab  # noqa: F401
from pytest_unineuron.plugin import scheduling, session  # noqa: F401


@pytest.fixture(scope="session")
def nano_modules():
    """Load a nano model here, since pytester removes modules that are first imported in an inner run."""
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    load_model(parse_source("nano:neox-a"))


@pytest.fixture(scope="module")
def two_seeds(tiny):
    """Two seeds. They are loaded here because pytester removes modules that are first imported in an inner run."""
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    folders = tiny("gpt2"), tiny("gpt2", seed=1)
    for folder in folders:
        load_model(parse_source(str(folder)))
    return folders
