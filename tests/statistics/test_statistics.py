"""The contract of every statistic in the table; a new row is tested without a new test."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from pytest_unineuron.statistics import (
    DEFAULT_SITES,
    EXTREMES,
    STATISTICS,
    UNITS,
    UP,
    layer_batch,
    statistic_class,
    statistics_for,
)
from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.scratch import Scratch

KINDS = {name: statistic_class(name) for name in STATISTICS}
RANDOM = np.random.default_rng(0)
VALUES = torch.from_numpy(RANDOM.standard_normal((60, 4)).astype(np.float32))
TOKENS, LABELS = torch.arange(60), torch.from_numpy(RANDOM.integers(-1, 3, 60))
PARTS = (slice(0, 7), slice(7, 8), slice(8, 60))


def assert_close(found, expected, **tolerance):
    for name, value in vars(expected).items():
        np.testing.assert_allclose(vars(found)[name].double(), value.double(), **tolerance, err_msg=name)


def of(kind, where=slice(None), values=VALUES):
    return kind.of(values[where], TOKENS[where], LABELS[where])


def test_every_statistic_is_accumulated_at_its_sites():
    """A pass of which everything is requested accumulates each statistic at the sites of its row, and nothing else."""
    found = statistics_for([*DEFAULT_SITES, UP, EXTREMES, UNITS])
    accumulated = {(name, site) for site, names in found.items() for name in names}
    assert accumulated == {(name, site) for name, (_, sites) in STATISTICS.items() for site in sites}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
class TestContract:
    """The laws that the pass, the cache and several processes rely on."""

    def test_batches_add_up(self, kind):
        """The sum of the statistics of batches does not depend on how the tokens are cut."""
        a, b, c = (of(kind, part) for part in PARTS)
        assert_close(a + b + c, of(kind), rtol=1e-5, atol=1e-5)

    def test_addition_is_commutative(self, kind):
        """The order of two batches does not matter."""
        a, b = of(kind, slice(0, 20)), of(kind, slice(20, 60))
        assert_close(a + b, b + a, rtol=1e-9, atol=1e-9)

    def test_units_of_layers_can_be_concatenated(self, kind):
        """The statistic of concatenated layers is that of all their units at once."""
        joined = kind.concat_units([of(kind, values=VALUES[:, :1]), of(kind, values=VALUES[:, 1:])])
        assert joined.units == 4
        assert_close(joined, of(kind), rtol=1e-6, atol=1e-6)

    def test_concatenated_units_can_be_concatenated_again(self, kind):
        """Layers over different tokens, such as those of experts, can be concatenated in any order."""
        parts = [of(kind, part, VALUES[:, unit : unit + 1]) for unit, part in enumerate(PARTS)]
        a, b, c = parts
        twice = kind.concat_units([a, kind.concat_units([b, c])])
        assert_close(twice, kind.concat_units(parts))
        assert_close(kind.concat_units([twice, twice]), kind.concat_units([*parts, *parts]))

    def test_a_number_for_all_units_stays_one(self, kind):
        """Layers over the same number of tokens share it, so that it is stored once; those of experts do not."""
        a, b = of(kind), of(kind, slice(0, 20))
        for field in fields(kind):
            same, other = (getattr(kind.concat_units(parts), field.name) for parts in ([a, a], [a, b]))
            assert same.dim() == getattr(a, field.name).dim()
            assert other.dim() == max(1, same.dim())

    def test_half_precision_is_widened(self, kind):
        """The statistic of bfloat16 values is that of the same values in float32."""
        half = VALUES.bfloat16()
        assert_close(of(kind, values=half), of(kind, values=half.float()), rtol=1e-5, atol=1e-5)

    def test_a_constant_unit_does_not_change_the_others(self, kind):
        """A unit that never varied has a statistic of its own."""
        constant = torch.cat([VALUES, torch.ones(60, 1)], dim=1)
        joined = kind.concat_units([of(kind), of(kind, values=torch.ones(60, 1))])
        assert_close(of(kind, values=constant), joined, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
    def test_accumulating_batches_is_adding_them(self, kind, dtype):
        """P25: this holds for all rows of a tensor, and for rows of text that are selected from a larger one."""
        values = VALUES.to(dtype)
        a, b, c = (of(kind, part, values) for part in PARTS)
        whole, selected = kind.accumulator(4, "cpu"), kind.accumulator(4, "cpu")
        text_rows = torch.arange(60) * 2 + 1
        larger = torch.full((121, 4), float("nan"), dtype=dtype).index_copy(0, text_rows, values)
        for part in PARTS:
            accumulate(LayerBatch(values[part], TOKENS[part], LABELS[part]), [whole], Scratch())
            accumulate(LayerBatch(larger, TOKENS[part], LABELS[part], text_rows[part]), [selected], Scratch())
        for accumulator in (whole, selected):
            assert_close(accumulator.result(), a + b + c, rtol=1e-5, atol=1e-5)

    def test_the_size_of_tiles_does_not_matter(self, kind, monkeypatch):
        """The statistic is the same with few rows in a tile."""
        whole = of(kind)
        monkeypatch.setattr(layer_batch, "CPU_TILE_SIZE", 8 * 4)
        assert_close(of(kind), whole, rtol=1e-5, atol=1e-5)

    def test_a_batch_without_tokens_changes_nothing(self, kind):
        """An expert may get no token of a batch."""
        nothing = of(kind, slice(0, 0))
        assert_close(kind.accumulator(4, "cpu").result(), nothing)
        assert_close(of(kind) + nothing, of(kind), rtol=1e-12, atol=1e-12)

    def test_later_batches_do_not_change_a_result(self, kind):
        """Accumulating does not change activations either."""
        accumulator, values = kind.accumulator(4, "cpu"), VALUES.clone()
        accumulate(LayerBatch(values, TOKENS, LABELS), [accumulator], Scratch())
        found = accumulator.result()
        before = {name: value.clone() for name, value in vars(found).items()}
        accumulate(LayerBatch(values * 2, TOKENS, LABELS), [accumulator], Scratch())
        assert all(torch.equal(value, before[name]) for name, value in vars(found).items())
        assert torch.equal(values, VALUES)
