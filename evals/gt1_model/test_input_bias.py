"""GT1: does the input bias mark the neurons that the finding is about?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife, within

HEAVY = 4.5


@pytest.mark.gt1(source="notebook")
def test_notebook_negative_input_bias(weights, measure):
    """Most neurons of a new model have a negative input bias."""
    measure("share of negative biases", np.mean(weights.raw_bias < 0), above=0.5)


@pytest.mark.gt1(
    source="Gurnee et al. 2024, figure 3; catalogue GT1-B1",
    # In a rotated basis the units have no bias of their own.
    controls=["untrained", "reinitialised", "shuffled"],
)
def test_heavy_neurons_have_lower_bias(neurons, weights, measure):
    """Heavy-tailed neurons have a more negative folded input bias than the other neurons of their layer."""
    heavy_neurons = int(np.sum(neurons.kurtosis > HEAVY))
    measure.needs("neurons with kurtosis above 4.5", heavy_neurons, at_least=30)
    lower = jackknife(lambda n: within(weights.bias, n.kurtosis > HEAVY, n.layer), neurons)
    measure("AUROC of the bias within layers", lower, below=0.40, null=0.45)
