"""Attention sinks, found by their norms and left out of statistics, compared with independent computations."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.activations.sinks import SINK_NORM, Sinks, find_sinks, sinks_of
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.distributed.single_process import SingleProcess
from pytest_unineuron.statistics import EXTREMES, POST, PRE, RESIDUAL, statistics_for
from tests.activations.sweeping import sweep_blocks
from tests.activations.test_sweep import capture_rows, model_and_blocks, neurons
from tests.models.tiny import prepared

POSITION, TOKEN = 1, 40


def with_planted_sinks():
    """A model in which a position and a token have large embeddings, its anatomy and blocks."""
    model, anatomy, blocks = model_and_blocks("gpt2")
    with torch.no_grad():
        model.model.transformer.wpe.weight[POSITION] *= 1000
        model.model.transformer.wte.weight[TOKEN] *= 1000
    return model, anatomy, blocks


def in_order_of_batches(blocks, rows):
    """Rows of text tokens in the order of ``blocks.blocks``, in the order of batches."""
    at = np.cumsum([0, *(sum(block.text_mask) for block in blocks.blocks)])
    key = [(block.document % blocks.groups, -len(block.ids)) for block in blocks.blocks]
    order = sorted(range(len(key)), key=lambda number: key[number])
    return np.concatenate([rows[at[number] : at[number + 1]] for number in order])


def test_sinks_are_the_tokens_of_a_large_norm():
    """Number, position and share of the fourth moment agree with a pass row by row, whatever the size of batches."""
    model, anatomy, blocks = with_planted_sinks()
    stream = in_order_of_batches(blocks, capture_rows(model, anatomy, blocks)[RESIDUAL])
    norms = np.linalg.norm(stream, axis=1)
    large = norms > 20 * np.median(norms)
    position = in_order_of_batches(
        blocks, np.concatenate([np.flatnonzero(np.array(block.text_mask)) for block in blocks.blocks])
    )
    assert Counter(position[large])[POSITION] == sum(block.text_mask[POSITION] for block in blocks.blocks)
    assert len(set(position[large])) > 1
    for size in (64, 700, 20_000):
        found = find_sinks(model.model, anatomy.layout, blocks.batches(size))
        assert found.tokens == tuple(np.flatnonzero(large))
        assert found.positions == tuple(position[large])
        assert found.share == pytest.approx(large.mean())
        assert found.fourth_moment == pytest.approx((stream[large] ** 4).sum() / (stream**4).sum())


def test_statistics_leave_sinks_out():
    """Totals are those of the other tokens, with sinks those of all; every group is without its sinks."""
    model, anatomy, blocks = with_planted_sinks()
    sinks = find_sinks(model.model, anatomy.layout, blocks.batches(700))
    marked = replace(blocks, sinks=sinks.tokens)
    result = sweep_blocks(model.model, anatomy.layout, marked, batch=700)
    rows = {site: in_order_of_batches(blocks, of) for site, of in capture_rows(model, anatomy, blocks).items()}
    ordinary = np.delete(np.arange(blocks.tokens), sinks.tokens)
    for found, at in ((result, ordinary), (result.with_sinks, np.arange(blocks.tokens))):
        assert sum(found.tokens) == len(at)
        assert sum(found.documents) == blocks.documents
        for site in (PRE, POST, RESIDUAL):
            values = rows[site][at]
            kurtosis = stats.kurtosis(values, axis=0, fisher=False)
            np.testing.assert_allclose(found.total(site, "moments").kurtosis, kurtosis, rtol=1e-4)
        density = neurons(found).density
        assert np.abs(density - (rows[PRE][at] > 0).mean(axis=0)).max() <= 1 / len(at)
    rest = result.without(0)
    kurtosis = (rest.total(RESIDUAL, "moments") + result.sums[0][RESIDUAL, "moments"]).kurtosis
    np.testing.assert_allclose(kurtosis, result.total(RESIDUAL, "moments").kurtosis, rtol=1e-9)


def test_a_model_without_sinks_is_measured_as_ever():
    """No token is marked, so digests and results are the same, with sinks and without."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=2000)
    found = find_sinks(model.model, anatomy.layout, blocks.batches(700))
    assert found == Sinks()
    assert found.facts() == {"tokens": 0, "positions": {}, "share": 0.0, "fourth_moment": 0.0}
    assert replace(blocks, sinks=found.tokens).digest == blocks.digest
    result = sweep_blocks(model.model, anatomy.layout, blocks, batch=700)
    assert result.with_sinks is result
    assert not any(batch.sink_mask.any() for batch in blocks.batches(700))


def test_sinks_have_no_interval():
    """They are counted for all groups together, so that a jackknife over groups would not see them vary."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=2000)
    plain = sweep_blocks(model.model, anatomy.layout, blocks, batch=700)
    marked = sweep_blocks(model.model, anatomy.layout, replace(blocks, sinks=(3,)), batch=700)
    assert (marked.groups, marked.with_sinks.groups) == (plain.groups, 1)
    for result in (plain, marked):
        with pytest.raises(ValueError, match=r"measure neurons\.with_sinks without an interval"):
            _ = neurons(result).without(0).with_sinks.kurtosis
    np.testing.assert_allclose(neurons(marked).with_sinks.kurtosis, neurons(plain).kurtosis, rtol=1e-5)


def test_models_are_not_compared_at_sinks():
    """The mask of comparison has none of them, and the other tokens as before."""
    _, _, blocks = model_and_blocks("gpt2", budget=2000)
    sinks = (0, 5, 6, 1999)
    assert replace(blocks, sinks=sinks).digest != blocks.digest
    for size in (64, 20_000):
        pairs = zip(blocks.batches(size), replace(blocks, sinks=sinks).batches(size), strict=True)
        for plain, marked in pairs:
            assert torch.equal(marked.comparison_mask, plain.comparison_mask & ~marked.sink_mask)
        number = torch.cat([batch.sink_mask[batch.text_mask] for batch in replace(blocks, sinks=sinks).batches(size)])
        assert number.nonzero().flatten().tolist() == list(sinks)


def test_extremes_are_not_at_sinks():
    """Tokens keep their numbers."""
    model, anatomy, blocks = with_planted_sinks()
    sinks = find_sinks(model.model, anatomy.layout, blocks.batches(700))
    marked = replace(blocks, sinks=sinks.tokens)
    result = sweep_blocks(model.model, anatomy.layout, marked, batch=700, statistics=statistics_for([EXTREMES]))
    tokens = result.total(POST, EXTREMES).tokens
    assert not np.isin(tokens, sinks.tokens).any()
    values = in_order_of_batches(blocks, capture_rows(model, anatomy, blocks)[POST])
    np.testing.assert_allclose(
        np.take_along_axis(values, tokens.numpy(), axis=0), result.total(POST, EXTREMES).values, rtol=1e-3, atol=1e-4
    )


def test_experts_leave_sinks_out():
    """What an expert was given with and without sinks adds up to what it was given of all tokens."""
    loaded, anatomy = prepared("causal", "mixtral")
    blocks = to_blocks(find_corpus("news"), loaded.tokenizer, context=32, budget=1200)
    plain = sweep_blocks(loaded.model, anatomy.layout, blocks, batch=200)
    marked = sweep_blocks(loaded.model, anatomy.layout, replace(blocks, sinks=(0, 1, 2, 700)), batch=200)
    every, rest = plain.total(PRE, "moments"), marked.total(PRE, "moments")
    given_sinks = marked.sinks[PRE, "moments"]
    assert torch.equal(rest.count + given_sinks.count, every.count)
    assert given_sinks.count.sum() == 4 * every.count.sum() / blocks.tokens
    both = marked.with_sinks.total(PRE, "moments")
    np.testing.assert_allclose(both.mean, every.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both.variance, every.variance, rtol=1e-4)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40), st.integers(1, 3), st.floats(1e-6, 1e6))
def test_sinks_do_not_depend_on_scale_or_order(norms, processes, scale):
    """Tokens of a large norm are found whatever the unit, and whoever read which of them."""
    norm = torch.tensor(norms, dtype=torch.float64)
    number = torch.arange(len(norm)).double()
    found = torch.stack([number, number, norm, norm**4])
    expected = tuple(np.flatnonzero(norm.numpy() > SINK_NORM * norm.median().item()))
    assert sinks_of(found).tokens == expected
    scaled = torch.stack([number, number, norm * 2.0 ** round(np.log2(scale)), norm**4])
    shards = torch.cat([scaled[:, index::processes] for index in range(processes)], dim=1)
    assert sinks_of(shards).tokens == expected


def test_a_model_whose_stream_cannot_be_read_has_no_sinks():
    """No pass is made."""
    _, anatomy, blocks = model_and_blocks("gpt2", budget=500)
    without = replace(anatomy.layout, stream=None)
    assert find_sinks(None, without, blocks.batches(100)) == Sinks()


def test_processes_find_the_sinks_of_all():
    """The median is over the tokens of all processes."""
    model, anatomy, blocks = with_planted_sinks()
    batches = blocks.batches(100)
    parts = []

    class Rank(SingleProcess):
        def __init__(self, index):
            self.index, self.count = index, 2

        def all_gather(self, own):
            parts.append(own)
            return list(parts)

    find_sinks(model.model, anatomy.layout, batches, processes=Rank(0))
    found = find_sinks(model.model, anatomy.layout, batches, processes=Rank(1))
    assert found == find_sinks(model.model, anatomy.layout, batches)
