"""Laws of the extremes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.extremes import N_LARGEST, Extremes
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.scratch import Scratch
from tests.strategies import cut_batches


@given(cut_batches())
def test_extremes_are_the_largest_values_with_their_tokens(case):
    """The largest values do not depend on how the tokens are cut, and each is found at its token."""
    batch, cuts = case
    tokens = torch.arange(100, 100 + len(batch))
    pieces = zip(np.split(batch, cuts), np.split(tokens.numpy(), cuts), strict=True)
    parts = [Extremes.of(torch.from_numpy(v), torch.from_numpy(t), torch.from_numpy(t)) for v, t in pieces]
    found = sum(parts[1:], parts[0])
    expected = -np.sort(-batch, axis=0)[:N_LARGEST]
    filled = min(N_LARGEST, len(batch))
    np.testing.assert_array_equal(found.values[:filled].numpy(), expected)
    at = found.tokens[:filled].numpy() - 100
    np.testing.assert_array_equal(np.take_along_axis(batch, at, axis=0), expected)
    assert bool((found.tokens[filled:] == -1).all())


@settings(max_examples=30)
@given(st.integers(1, 4000), st.integers(1, 3000), st.integers(0, 100))
def test_extremes_of_many_tokens_are_those_of_topk(first, second, seed):
    """This holds for any number of tokens, whether or not it fills the last chunk of every level."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(first + second, 3, generator=random)
    values[:, 1] = torch.linspace(0, 1, len(values))
    values[:, 2] = -values[:, 1]
    accumulator, tokens = Extremes.accumulator(3, "cpu"), torch.arange(len(values)) + 7
    for part in (slice(0, first), slice(first, None)):
        accumulate(LayerBatch(values[part], tokens[part], None), [accumulator], Scratch())
    found, kept = accumulator.result(), min(N_LARGEST, len(values))
    assert torch.equal(found.values[:kept], values.topk(kept, dim=0).values)
    assert torch.equal(values.gather(0, found.tokens[:kept] - 7), found.values[:kept])
    assert bool((found.tokens[kept:] == -1).all())
