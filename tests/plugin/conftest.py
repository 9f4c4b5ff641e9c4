"""What inner runs need is imported here, once.

pytester puts ``sys.modules`` back when an inner run ends; numpy and torch cannot be imported twice in one process,
and everything else would be imported again for every test.
"""

import hypothesis  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

from pytest_unineuron.lab import lab  # noqa: F401
from pytest_unineuron.plugin import scheduling, session  # noqa: F401


@pytest.fixture(scope="module")
def two_seeds(tiny):
    """Two seeds, loaded before pytester takes stock of the modules that are imported."""
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    made = tiny("gpt2"), tiny("gpt2", seed=1)
    for folder in made:
        load_model(parse_source(str(folder)))
    return made
