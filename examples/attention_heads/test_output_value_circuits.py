"""A claim about attention heads: what they write comes from few directions of what they read."""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, by_unit
from pytest_unineuron.statistics.heads import circuit_rank


@pytest.mark.gt3(primary=True, source="Elhage et al. 2021, OV circuits")
def test_heads_move_few_directions(unineuron_weights, unineuron_measure):
    """The output-value circuit of a head has a lower stable rank than that of any null.

    The stable rank of W_OV = W_O W_V is the number of directions that a head effectively moves, here as a share of its
    dimension. It does not depend on the basis of the values.
    """
    unineuron_measure.needs("heads", len(unineuron_weights.heads), at_least=8)

    def ranks(weights):
        return np.array([circuit_rank(head.output.T, head.value) for head in weights.heads])  # [head]

    few = by_unit(ranks, unineuron_weights, layer=lambda weights: weights.head_layer)
    unineuron_measure("stable rank of W_OV over head dimension", few, lower_by=MEDIUM)
