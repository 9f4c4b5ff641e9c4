"""The comparison of models in blocks: any memory budget gives the same matches."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.lab.serialize import serialize
from pytest_unineuron.universality.blocks import blocks_within
from pytest_unineuron.universality.cost import ComparisonCost
from pytest_unineuron.universality.kinds import DIMENSIONS, KINDS, NEURONS, VALUES
from pytest_unineuron.universality.match import Resources, match
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost
from tests.models.tiny import tokenizer
from tests.universality.comparing import shared_model

CONTINUOUS = (NEURONS, DIMENSIONS, VALUES)


@cache
def batches(tokens=512):
    return tuple(to_blocks(find_corpus("news"), tokenizer(), context=64, budget=1500).batches(tokens))


@pytest.fixture(autouse=True, scope="module")
def small_batches():
    """Set the memory for batches to 0, because the products of tiny models are small in comparison."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("working_bytes", "held_out_bytes", "drawing_bytes"):
            patch.setattr(ComparisonCost, name, 0)
        yield


def seeds(*, room=0.0, dtype=torch.float32, read=None):
    read = read or batches()
    return [SeedActivations(shared_model(seed=seed, dtype=dtype), read, room=room) for seed in (3, 5)]


def match_within(memory, *, room=0.0, dtype=torch.float32, read=None, kinds=KINDS, **resources):
    read = read or batches()
    return match(
        shared_model(dtype=dtype),
        read,
        seeds(room=room, dtype=dtype, read=read),
        kinds=kinds,
        resources=Resources(memory=memory, **resources),
    )


def cost(dtype=torch.float32):
    return comparison_cost(shared_model(dtype=dtype), batches(), seeds(dtype=dtype))


@cache
def match_at_once(dtype=torch.float32):
    return match_within(8e9, dtype=dtype, room=1e9)


def assert_same(found, expected, atol):
    for kind, in_seeds in expected.items():
        for one, two in zip(found[kind], in_seeds, strict=True):
            for a, b in zip(one.choice.all, two.choice.all, strict=True):
                np.testing.assert_array_equal(a.partner, b.partner)
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)
            np.testing.assert_allclose(one.choice.raw, two.choice.raw, atol=atol)
            for a, b in zip(one.pairs, two.pairs, strict=True):
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)


@settings(max_examples=4)
@given(st.floats(0.05, 1), st.sampled_from([0.0, 3e6]))
def test_any_memory_budget_gives_the_same_matches(share, room):
    """This holds for any number of blocks, with activations of the seeds kept or recomputed."""
    assert_same(match_within(cost().least_bytes + share * cost().product_bytes, room=room), match_at_once(), atol=1e-6)


def test_any_memory_budget_gives_the_same_matches_in_float64():
    """Correlations agree to 1e-12."""
    double = torch.float64
    memory = cost(double).least_bytes + cost(double).product_bytes // 5
    assert_same(match_within(memory, dtype=double), match_at_once(double), atol=1e-12)


def test_blocks_are_announced_once_and_have_one_progress_bar():
    """The line is printed before any forward pass. A single block is not announced."""
    lines, bars = [], []

    def progress(steps):
        bars.append(len(steps))
        yield from steps
        bars.append("done")

    memory = cost().least_bytes + cost().product_bytes // 4
    match_within(memory, announce=lines.append, progress=progress, title="a on news with 2 seeds")
    blocks = len(blocks_within(cost(), memory))
    assert blocks > 3
    (line,) = lines
    assert line.startswith(f"a on news with 2 seeds: {blocks} blocks of products within ")
    selection, held_out = (sum(b.n_compared > 0 for b in batches() if b.group % 2 == odd) for odd in (0, 1))
    assert bars == [blocks * selection + held_out, "done"]
    match_within(8e9, announce=lines.append)
    assert len(lines) == 1


def test_the_name_of_a_part_holds_all_that_it_depends_on():
    """A part of an earlier attempt with other blocks must not be used."""

    def names(memory, *, read_by=None, subject=None):
        seen = []

        def note(name, compute):
            seen.append(name)
            return compute()

        read_by = read_by or [SeedActivations(shared_model(seed=3), batches(), room=0)]
        match(subject or shared_model(), batches(), read_by, resources=Resources(memory=memory, compute_part=note))
        return seen

    one_seed = [SeedActivations(shared_model(seed=3), batches(), room=0)]
    tight = comparison_cost(shared_model(), batches(), one_seed)
    one, four = (names(memory) for memory in (8e9, tight.least_bytes + tight.product_bytes // 4))
    assert names(8e9) == one
    assert not set(one[:-1]) & set(four[:-1])
    assert one[-1] == four[-1]  # both read the same pairs, since the choice does not depend on the memory
    first, again = names(8e9, read_by=one_seed), names(8e9, read_by=one_seed)
    assert first == one
    assert first[0] != again[0]  # the seed has its covariances within layers from the first comparison
    assert names(8e9, subject=shared_model(seed=5))[-1] != one[-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correlations_do_not_depend_on_batches(dtype):
    """They agree to 1e-9 in float64. Heads are left out, because the mean over a batch is subtracted from them."""
    few, many = (match_within(8e9, read=batches(tokens), dtype=dtype, kinds=CONTINUOUS) for tokens in (128, 1024))
    atol = 1e-9 if dtype == torch.float64 else 1e-5
    for kind in CONTINUOUS:
        for one, two in zip(few[kind], many[kind], strict=True):
            for a, b in zip(one.choice.all, two.choice.all, strict=True):
                assert a.correlation.dtype == dtype
                np.testing.assert_allclose(a.correlation, b.correlation, atol=atol)


def test_a_stored_comparison_has_the_estimated_size():
    """The estimate of the cost is exact to the byte."""
    _, tensors = serialize(match_at_once())
    assert sum(tensor.nbytes for tensor in tensors.values()) == cost().cache_bytes
