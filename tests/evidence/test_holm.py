"""Laws of Holm's correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.evidence.holm import SIGNIFICANCE_LEVEL, holm_adjust

families = st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8)


@given(families)
def test_holm_agrees_with_its_definition(p_values):
    """A test is significant if it and all smaller ones are at most the level divided by the number of tests left."""
    found = holm_adjust(p_values)
    ordered = sorted(p_values, key=p_values.get)
    holds = True
    for place, name in enumerate(ordered):
        holds = holds and p_values[name] * (len(ordered) - place) <= SIGNIFICANCE_LEVEL
        assert (found[name] <= SIGNIFICANCE_LEVEL) == holds


@given(families)
def test_adjusted_p_values_grow_and_keep_their_order(p_values):
    """No p-value becomes smaller, exceeds one or exceeds Bonferroni's, and their order stays."""
    found = holm_adjust(p_values)
    assert found.keys() == p_values.keys()
    for name, p in p_values.items():
        assert p <= found[name] <= min(1, p * len(p_values))
    ordered = [found[name] for name in sorted(p_values, key=p_values.get)]
    assert ordered == sorted(ordered)


def test_family_wise_error_rate_is_the_level():
    """Among many families without an effect, the share with a significant test is five percent."""
    random = np.random.default_rng(0)
    alarms = [min(holm_adjust(dict(enumerate(random.random(6)))).values()) <= SIGNIFICANCE_LEVEL for _ in range(4000)]
    assert np.mean(alarms) == pytest.approx(SIGNIFICANCE_LEVEL, abs=0.012)
