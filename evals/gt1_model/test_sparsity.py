"""GT1: are the neurons of a new model mostly off?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife


@pytest.mark.gt1(source="notebook")
def test_notebook_sparsity_pattern(neurons, measure):
    """Some units are positive at fewer than half of the tokens, and units differ (residual dimensions)."""
    measure(
        "residual dimensions positive at under half of the tokens", int(np.sum(neurons.residual.density < 0.5)), above=0
    )
    measure("deviation of that share over dimensions", np.std(neurons.residual.density), above=0.0)


@pytest.mark.gt1(source="Gurnee et al. 2024, figure 3; catalogue GT1-C")
def test_neurons_are_mostly_off(neurons, measure):
    """In a trained model most MLP neurons are on at fewer than half of the tokens; in a null, half of them are."""
    measure.needs("documents", neurons.documents, at_least=64)
    off = jackknife(lambda n: np.mean(n.density < 0.5), neurons, resolution=1 / len(neurons))
    measure("share of neurons on at under half of the tokens", off, above=0.75, null=0.60)
