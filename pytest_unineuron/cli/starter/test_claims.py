"""One claim for each criterion. Each is measured on every model, and again on its null controls.

A claim with ``higher_by`` or ``lower_by`` is PASS if the model exceeds every control by so much. One with ``above`` or
``below`` alone is VACUOUS if a control meets it too.
"""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, SMALL, by_unit
from pytest_unineuron.statistics.heads import circuit_rank


@pytest.mark.gt1(primary=True, source="Gurnee et al. 2024, figure 3")
def test_neurons_are_skewed(neurons, measure):
    """GT1, a new model: its neurons are more skewed to the right than those of any null, on the reference text."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure("skew", by_unit(lambda neurons: neurons.skew, neurons), higher_by=MEDIUM)


@pytest.mark.gt2(primary=True, source="Gurnee et al. 2024, figure 3")
def test_neurons_are_skewed_on_new_data(neurons, measure):
    """GT2, new data: they are so on text of other kinds too, one case a corpus."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure("skew", by_unit(lambda neurons: neurons.skew, neurons), higher_by=MEDIUM)


@pytest.mark.gt3(primary=True, source="Elhage et al. 2021, QK circuits")
def test_heads_compare_few_directions(weights, measure):
    """GT3, the method on something else: attention heads compare fewer directions than those of any null.

    A model that was trained on words in random order shows this too: it tells trained models from others, no more.
    """
    measure.needs("heads", len(weights.heads), at_least=8)

    def ranks(weights):
        return np.array([circuit_rank(*head.folded()) for head in weights.heads])  # [head]

    concentrated = by_unit(ranks, weights, layer=lambda weights: weights.head_layer)
    measure("stable rank of W_QK over head dimension", concentrated, lower_by=SMALL)
