"""The cost of comparing seeds, and the split of products into blocks that fit into memory."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.errors import OptionError
from pytest_unineuron.models.loading.shape import ModelShape
from pytest_unineuron.system.machine import GIB
from pytest_unineuron.universality.blocks import blocks_within
from pytest_unineuron.universality.cost import ComparisonCost
from pytest_unineuron.universality.estimate import CostEstimate
from pytest_unineuron.universality.kinds import HEADS, NEURONS

MEDIUM = ComparisonCost(
    {NEURONS: [4096] * 24},
    ({NEURONS: [4096] * 24},),
    selection_tokens=100_000_000,
    held_out_tokens=0,
    batch_tokens=1024,
)


def test_the_product_of_two_gpt2_mediums():
    """It takes 1.9e10 operations per token and pair, 1.9e18 for 100 million tokens, and 38.7 GB."""
    assert MEDIUM.product_operations / 100e6 == pytest.approx(1.93e10, rel=2e-3)
    assert MEDIUM.product_operations == pytest.approx(1.93e18, rel=2e-3)
    assert MEDIUM.product_bytes == pytest.approx(38.7e9, rel=2e-3)
    assert replace(MEDIUM, bytes_per_number=8).product_bytes == 2 * MEDIUM.product_bytes


layers = st.lists(st.integers(1, 300), min_size=1, max_size=4)
costs = st.builds(
    lambda subject, seeds, known: ComparisonCost(
        {NEURONS: subject[0], HEADS: subject[1]},
        tuple({NEURONS: a, HEADS: b} for a, b in seeds),
        100,
        100,
        10,
        known_seeds=frozenset(known),
    ),
    st.tuples(layers, layers),
    st.lists(st.tuples(layers, layers), min_size=1, max_size=3),
    st.sets(st.integers(0, 2)),
)


def cell_bytes(cost, cell):
    """The bytes of the products of a cell, counted one by one."""
    sizes = cost.seeds[cell.seed][cell.kind][slice(*cell.layers)]
    within = sum(m * m for m in sizes) if cell.within else 0
    return cost.bytes_per_number * ((cell.rows[1] - cell.rows[0]) * sum(sizes) + within)


@given(costs, st.floats(0, 2))
def test_blocks_cover_everything_once_within_the_budget(cost, share):
    """Every pair of units and every layer of an unknown seed is in one block, and each block fits into memory."""
    memory = cost.least_bytes + share * cost.product_bytes
    blocks = blocks_within(cost, memory)
    for block in blocks:
        assert block
        assert cost.working_bytes + sum(cell_bytes(cost, cell) for cell in block) <= memory
    for index, seed in enumerate(cost.seeds):
        for kind in cost.kinds:
            seen = np.zeros((sum(cost.subject[kind]), len(seed[kind])), dtype=int)
            within = np.zeros(len(seed[kind]), dtype=int)
            for cell in (c for block in blocks for c in block if (c.kind, c.seed) == (kind, index)):
                seen[slice(*cell.rows), slice(*cell.layers)] += 1
                within[slice(*cell.layers)] += cell.within
            assert (seen == 1).all()
            assert (within == (index not in cost.known_seeds)).all()


@given(costs)
def test_one_block_is_enough_if_all_products_fit(cost):
    """With less memory there are at least as many blocks as the size of the products requires."""
    enough = cost.working_bytes + cost.product_bytes + cost.layer_bytes
    assert len(blocks_within(cost, max(cost.least_bytes, enough))) == 1
    half = cost.least_bytes + cost.product_bytes // 2
    assert len(blocks_within(cost, half)) >= cost.product_bytes / (half - cost.working_bytes)


@given(costs)
def test_columns_are_searched_from_left_to_right(cost):
    """Of two equally good partners the first is chosen, so the result does not depend on the blocks."""
    cells = [cell for block in blocks_within(cost, cost.least_bytes) for cell in block]
    for one, two in pairwise(cells):
        if (one.kind, one.seed) == (two.kind, two.seed):
            assert (one.layers, one.rows) < (two.layers, two.rows)


def test_too_small_a_budget_is_an_error():
    """The message states the least memory and the option to type."""
    with pytest.raises(OptionError) as error:
        blocks_within(replace(MEDIUM, selection_tokens=10_000), GIB)
    assert str(error.value) == (
        "--unineuron-memory: comparing units with 1 seeds has 1 GiB to work in and takes at least 2.43 GiB with "
        "batches of 1024 tokens; say --unineuron-memory=5, or a smaller --unineuron-batch"
    )


@pytest.mark.parametrize(("memory", "blocks", "passes"), [(2, 7, 8.0), (64, 1, 2.0)])
def test_further_blocks_are_further_passes(memory, blocks, passes):
    """The subject reads the selection split again for each further block, and so does a seed that is not kept."""
    shape = ModelShape(layers=24, width=1024, neurons=2048, heads=16, vocabulary=50257, context=1024)
    estimate = CostEstimate(shape, 1, 100_000, 20_000, 512, memory * GIB)
    seed_is_kept = bool(estimate.kept_bytes[0])
    assert len(estimate.blocks) == blocks
    assert estimate.passes == 2 + (blocks - 1) / 2 * (1 if seed_is_kept else 2) == passes
