"""Laws of the share of tokens at which a unit is on."""

import numpy as np
import torch
from hypothesis import given

from pytest_unineuron.statistics.firing import Firing
from tests.strategies import batches


def density(array):
    values = torch.as_tensor(array)
    return Firing.of(values, torch.arange(len(values)), torch.arange(len(values))).density.numpy()


@given(batches())
def test_density_is_the_exact_share_above_zero(batch):
    """P27: the density is the share of values above zero, exactly."""
    np.testing.assert_array_equal(density(batch), (batch > 0).mean(axis=0))
