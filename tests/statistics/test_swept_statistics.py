"""Every statistic of the sweep goes through one contract; a new row is tested without a new test."""

import dataclasses

import numpy as np
import pytest
import torch

from pytest_unineuron.statistics import STATISTICS, layer_batch, statistic_class
from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.scratch import Scratch

KINDS = {name: statistic_class(name) for name in STATISTICS}
RANDOM = np.random.default_rng(0)
VALUES = torch.from_numpy(RANDOM.standard_normal((60, 4)).astype(np.float32))
TOKENS, LABELS = torch.arange(60), torch.from_numpy(RANDOM.integers(-1, 3, 60))


def fields(statistic):
    return {name: getattr(statistic, name) for name in (field.name for field in dataclasses.fields(statistic))}


def same(a, b, **tolerance):
    for name, value in fields(a).items():
        np.testing.assert_allclose(value.double(), fields(b)[name].double(), **tolerance, err_msg=name)


def of(kind, where=slice(None), values=VALUES):
    return kind.of(values[where], TOKENS[where], LABELS[where])


def test_every_row_is_tested():
    """The table and the sites agree."""
    assert set(KINDS) == set(STATISTICS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
class TestContract:
    """What sweep, cache and workers rely on."""

    def test_batches_add_up(self, kind):
        """Any cut of the tokens gives the sums of the whole."""
        parts = [of(kind, slice(a, b)) for a, b in ((0, 7), (7, 8), (8, 60))]
        same(parts[0] + parts[1] + parts[2], of(kind), rtol=1e-5, atol=1e-5)

    def test_order_does_not_matter(self, kind):
        """Adding is commutative."""
        a, b = of(kind, slice(0, 20)), of(kind, slice(20, 60))
        same(a + b, b + a, rtol=1e-9, atol=1e-9)

    def test_units_side_by_side(self, kind):
        """Layers joined are the units of one layer joined."""
        joined = kind.concat_units([of(kind, values=VALUES[:, :1]), of(kind, values=VALUES[:, 1:])])
        same(joined, of(kind), rtol=1e-6, atol=1e-6)

    def test_half_precision_input(self, kind):
        """bfloat16 input gives what its rounded values give in float32."""
        half = VALUES.bfloat16()
        same(of(kind, values=half), of(kind, values=half.float()), rtol=1e-5, atol=1e-5)

    def test_a_constant_unit_breaks_nothing(self, kind):
        """A unit that never varies leaves the others as they are."""
        constant = torch.cat([VALUES, torch.ones(60, 1)], dim=1)
        joined = kind.concat_units([of(kind), of(kind, values=torch.ones(60, 1))])
        same(of(kind, values=constant), joined, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
    def test_taking_batches_in_place_is_adding_them(self, kind, dtype):
        """P25: in place, and in place of rows picked from more, are what ``of`` and ``+`` make."""
        values = VALUES.to(dtype)
        parts = [slice(0, 7), slice(7, 8), slice(8, 60)]
        added = [of(kind, part, values) for part in parts]
        running, picking, which = kind.accumulator(4, "cpu"), kind.accumulator(4, "cpu"), torch.arange(60) * 2 + 1
        spaced = torch.full((121, 4), float("nan"), dtype=dtype).index_copy(0, which, values)
        for part in parts:
            accumulate(LayerBatch(values[part], TOKENS[part], LABELS[part]), [running], Scratch())
            accumulate(LayerBatch(spaced, TOKENS[part], LABELS[part], which[part]), [picking], Scratch())
        for found in (running, picking):
            same(found.result(), added[0] + added[1] + added[2], rtol=1e-5, atol=1e-5)

    def test_tiles_change_nothing(self, kind, monkeypatch):
        """However many rows stay in the cache."""
        whole = of(kind)
        monkeypatch.setattr(layer_batch, "CPU_TILE_SIZE", 8 * 4)
        same(of(kind), whole, rtol=1e-5, atol=1e-5)

    def test_nothing_is_a_sum_too(self, kind):
        """No token in a batch, as of an expert nobody was routed to, changes nothing."""
        nothing, running = of(kind, slice(0, 0)), kind.accumulator(4, "cpu")
        same(running.result(), nothing)
        same(of(kind) + nothing, of(kind), rtol=1e-12, atol=1e-12)

    def test_results_are_left_alone(self, kind):
        """What was said before does not change with what comes later, and no activation is changed."""
        running, values = kind.accumulator(4, "cpu"), VALUES.clone()
        accumulate(LayerBatch(values, TOKENS, LABELS), [running], Scratch())
        found = running.result()
        before = {name: value.clone() for name, value in fields(found).items()}
        accumulate(LayerBatch(values * 2, TOKENS, LABELS), [running], Scratch())
        assert all(torch.equal(value, before[name]) for name, value in fields(found).items())
        assert torch.equal(values, VALUES)
