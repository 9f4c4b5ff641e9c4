"""Every statistic of the sweep goes through one contract; a new row is tested without a new test."""

import numpy as np
import pytest
import torch

from pytest_unineuron.statistics import SWEPT, swept

KINDS = {name: kind for site in ("pre", "post", "residual") for name, kind in swept(site).items()}
RANDOM = np.random.default_rng(0)
VALUES = torch.from_numpy(RANDOM.standard_normal((60, 4)).astype(np.float32))
TOKENS, LABELS = torch.arange(60), torch.from_numpy(RANDOM.integers(-1, 3, 60))


def fields(statistic):
    return {name: getattr(statistic, name) for name in statistic.__dataclass_fields__}


def same(a, b, **tolerance):
    for name, value in fields(a).items():
        np.testing.assert_allclose(value.double(), fields(b)[name].double(), **tolerance, err_msg=name)


def of(kind, where=slice(None), values=VALUES):
    return kind.of(values[where], TOKENS[where], LABELS[where])


def test_every_row_is_tested():
    """The table and the sites agree."""
    assert set(KINDS) == set(SWEPT)


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
        joined = kind.beside([of(kind, values=VALUES[:, :1]), of(kind, values=VALUES[:, 1:])])
        same(joined, of(kind), rtol=1e-6, atol=1e-6)

    def test_half_precision_input(self, kind):
        """bfloat16 input gives what its rounded values give in float32."""
        half = VALUES.bfloat16()
        same(of(kind, values=half), of(kind, values=half.float()), rtol=1e-5, atol=1e-5)

    def test_a_constant_unit_breaks_nothing(self, kind):
        """A unit that never varies leaves the others as they are."""
        constant = torch.cat([VALUES, torch.ones(60, 1)], dim=1)
        joined = kind.beside([of(kind), of(kind, values=torch.ones(60, 1))])
        same(of(kind, values=constant), joined, rtol=1e-5, atol=1e-5)
