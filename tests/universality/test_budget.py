"""What comparing seeds takes, in blocks that fit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.errors import OptionError
from pytest_unineuron.universality.cost import GIB, Task
from pytest_unineuron.universality.units import NEURONS
from pytest_unineuron.universality.ways import AGAIN, DISK, MEMORY, Rates, told, ways

SLOW, QUICK = 1e-3, 1e12
"""Bytes per second of a disk that nobody would use, and of one that anybody would."""

# -- the formulas --------------------------------------------------------------------------------------------

MEDIUM = Task({NEURONS: [4096] * 24}, ({NEURONS: [4096] * 24},), choosing=100_000_000, reading=0, batch=1024)


def test_the_product_of_two_gpt2_mediums():
    """1.9e10 operations per token and pair, 1.9e18 for 100 million tokens; 38.7 GB."""
    assert MEDIUM.product / 100e6 == pytest.approx(1.93e10, rel=2e-3)
    assert MEDIUM.product == pytest.approx(1.93e18, rel=2e-3)
    assert MEDIUM.cross == pytest.approx(38.7e9, rel=2e-3)
    assert replace(MEDIUM, item=8).cross == 2 * MEDIUM.cross


layers = st.lists(st.integers(1, 300), min_size=1, max_size=4)
tasks = st.builds(
    lambda subject, seeds, known: Task(
        {"a": subject[0], "b": subject[1]},
        tuple({"a": a, "b": b} for a, b in seeds),
        100,
        100,
        10,
        known=frozenset(known),
    ),
    st.tuples(layers, layers),
    st.lists(st.tuples(layers, layers), min_size=1, max_size=3),
    st.sets(st.integers(0, 2)),
)


@settings(deadline=None)
@given(tasks, st.floats(0, 2))
def test_blocks_cover_everything_once_within_the_budget(task, share):
    """Every pair of units once, every layer of a seed that is not known yet once, never more than there is room for."""
    memory = task.least + share * task.cross
    blocks = task.blocks(memory)
    for block in blocks:
        assert block
        assert task.working + sum(map(task.bytes_of, block)) <= memory
    for index, seed in enumerate(task.seeds):
        for kind in task.kinds:
            seen = np.zeros((sum(task.subject[kind]), len(seed[kind])), dtype=int)
            within = np.zeros(len(seed[kind]), dtype=int)
            for cell in (c for block in blocks for c in block if (c.kind, c.seed) == (kind, index)):
                seen[slice(*cell.rows), slice(*cell.layers)] += 1
                within[slice(*cell.layers)] += cell.within
            assert (seen == 1).all()
            assert (within == (index not in task.known)).all()


@settings(deadline=None)
@given(tasks)
def test_with_room_enough_there_is_one_block(task):
    """And with less there are at least as many as the products need."""
    assert len(task.blocks(max(task.least, task.working + task.cross + task.within))) == 1
    half = task.least + task.cross // 2
    assert len(task.blocks(half)) >= task.cross / (half - task.working)


@settings(deadline=None)
@given(tasks)
def test_columns_are_looked_at_from_left_to_right(task):
    """So that of two partners that are as good the first is taken, whatever the blocks."""
    cells = [cell for block in task.blocks(task.least) for cell in block]
    for one, two in pairwise(cells):
        if (one.kind, one.seed) == (two.kind, two.seed):
            assert (one.layers, one.rows) < (two.layers, two.rows)


def test_too_small_a_budget_is_an_error():
    """It says what the least is, and what to type."""
    task = replace(MEDIUM, choosing=10_000)
    with pytest.raises(OptionError) as error:
        task.blocks(GIB)
    assert str(error.value) == (
        "--unineuron-memory: comparing units with 1 seeds has 1 GiB to work in and takes at least 2.72 GiB with "
        "batches of 1024 tokens; say --unineuron-memory=6, or a smaller --unineuron-batch"
    )


def test_the_cheaper_way_is_taken():
    """By the rates of the machine; what does not fit onto the disk is no way, and what is in memory costs nothing."""
    task = replace(MEDIUM, choosing=10_000)
    for rates, place in (
        (Rates(forward=10, write=1e6, read=1e9), AGAIN),
        (Rates(forward=3600, write=1e9, read=1e9), DISK),
        (Rates(forward=3600, write=1e9, read=1e9, free=1e9), AGAIN),
    ):
        way, *_ = ways(task, 8 * GIB, [AGAIN], rates)
        assert way.places == (place, place)
    assert {way.places[0] for way in ways(task, 24 * GIB, [AGAIN], rates)} == {AGAIN, MEMORY}


def test_what_is_going_to_be_done_is_said_in_one_line():
    """With the other way beside it."""
    found = ways(replace(MEDIUM, choosing=10_000), 8 * GIB, [AGAIN], Rates(forward=10, write=1e7, read=1e9))
    assert told("a on prose with 1 seeds", 8 * GIB, found) == (
        "a on prose with 1 seeds: 6 blocks within 8 GiB; activations recomputed (est. 2 min; spilling 7.86 GB est. "
        "14 min)"
    )
