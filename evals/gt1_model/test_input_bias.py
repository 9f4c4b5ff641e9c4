"""GT1: does the input bias mark the neurons that the finding is about?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife, within


@pytest.mark.gt1(source="public run eval1_new GT1-2 (reconstructed, code not public)")
def test_notebook_negative_input_bias(weights, measure):
    """Most neurons of a new model have a negative input bias.

    The run printed 91,747 of 98,304 (93.3 %). Whether its biases were folded is not known; these are not. The version
    that can fail is heavy_neurons_have_lower_bias.
    """
    measure("share of negative biases", np.mean(weights.raw_bias < 0), above=0.5)


@pytest.mark.gt1(
    source="Gurnee et al. 2024, figure 3; catalogue GT1-B1",
    # In a rotated basis the units have no bias of their own.
    controls=["untrained", "reinitialised", "shuffled"],
)
def test_heavy_neurons_have_lower_bias(neurons, weights, heaviest, less, measure):
    """The heaviest-tailed tenth of a layer has a more negative folded input bias than its other neurons."""
    measure.needs("documents", neurons.documents, at_least=64)
    auroc = jackknife(lambda n: within(weights.bias, heaviest(n.kurtosis, n.layer), n.layer), neurons, limits=(0, 1))
    measure("AUROC of the bias within layers", auroc, **less)
