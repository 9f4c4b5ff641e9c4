"""Laws of the search for the best match of every unit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.correlation import BestMatchSearch
from tests.statistics.samples import best, comoments, sample

FIELDS = ("partner", "correlation", "sign")


def test_more_units_cannot_lower_the_best_match():
    """P19: the best of twenty units is at least as good as the best of the first eight."""
    x, y = sample(800, 10), sample(800, 20, seed=1)
    few, many = (best(comoments(x, y[:, :size]).correlation()).correlation for size in (8, 20))
    assert (many >= few - 1e-6).all()


@pytest.mark.parametrize("absolute", [False, True])
def test_matches_in_blocks_of_columns_are_those_of_the_whole_matrix(absolute):
    """Correlations can be searched layer by layer, with constant units among them."""
    x, y = sample(500, 7), sample(500, 12, seed=1)
    x[:, 2], y[:, :4] = 3, 1
    found = comoments(x, -y)
    whole = best(found.correlation(), absolute=absolute)
    parts = best(found.correlation(slice(4)), found.correlation(slice(4, 12)), absolute=absolute)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(parts, name).numpy(), getattr(whole, name).numpy())
    assert whole.partner[2] == -1


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_matches_in_blocks_of_rows_and_columns_are_those_of_the_whole_matrix(rows, columns, absolute):
    """This holds with constant units and ties; of equal correlations the first one is taken."""
    block = torch.as_tensor(np.random.default_rng(rows).integers(-2, 3, size=(rows, columns))).float() / 4
    block[rows // 2] = torch.nan
    whole = best(block, absolute=absolute)
    search = BestMatchSearch(rows, absolute=absolute)
    for part in (slice(0, rows // 2), slice(rows // 2, rows)):
        for start, stop in ((0, columns // 2), (columns // 2, columns)):
            if stop > start and part.stop > part.start:
                search.update(block[part, start:stop], start, part)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(search.best(), name), getattr(whole, name))


def test_opposites_match_where_signs_are_arbitrary():
    """B6: the antipodal twin of a unit is its match only if its sign has no meaning."""
    x = sample(1000, 5)
    y = np.concatenate([-x[:, :1], sample(1000, 3, seed=4)], axis=1)
    correlation = comoments(x, y).correlation()
    absolute = best(correlation, absolute=True)
    assert (absolute.partner[0], absolute.sign[0]) == (0, -1)
    assert absolute.correlation[0] == pytest.approx(1, abs=1e-6)
    assert best(correlation).correlation[0] < 0.9
    assert best(correlation).sign.tolist() == [1] * 5


def test_a_search_without_correlations_is_an_error():
    """There is no best match among no units."""
    with pytest.raises(ValueError, match="need at least one block of correlations, got none"):
        BestMatchSearch(3).best()
