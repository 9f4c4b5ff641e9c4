"""Laws of the extremes."""

import numpy as np
import torch
from hypothesis import given

from pytest_unineuron.statistics.extremes import KEPT, Extremes
from tests.strategies import cut_batches


@given(cut_batches())
def test_extremes_are_the_largest_values_with_their_tokens(case):
    """However the tokens are cut, the largest values are kept, and each is found at its token."""
    batch, cuts = case
    tokens = torch.arange(100, 100 + len(batch))
    pieces = zip(np.split(batch, cuts), np.split(tokens.numpy(), cuts), strict=True)
    parts = [Extremes.of(torch.from_numpy(v), torch.from_numpy(t), torch.from_numpy(t)) for v, t in pieces]
    found = sum(parts[1:], parts[0])
    expected = -np.sort(-batch, axis=0)[:KEPT]
    filled = min(KEPT, len(batch))
    np.testing.assert_array_equal(found.values[:filled].numpy(), expected)
    at = found.tokens[:filled].numpy() - 100
    np.testing.assert_array_equal(np.take_along_axis(batch, at, axis=0), expected)
    assert bool((found.tokens[filled:] == -1).all())
