"""GT1: are activations heavy-tailed in a model nobody studied?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife

HEAVY = 4.5


@pytest.mark.gt1(source="notebook")
def test_notebook_activation_kurtosis(neurons, measure):
    """Activations of a new model are not Gaussian (all residual dimensions and tokens in one array)."""
    measure("pooled kurtosis, middle residual stream", neurons.residual.pooled_kurtosis, above=3.0)


@pytest.mark.gt1(source="Gurnee et al. 2024, section 4.1 and figure 3; catalogue GT1-K")
def test_heavy_tailed_neurons(neurons, measure):
    """Some MLP neurons of a new model are heavy-tailed before the activation function, far beyond any null."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure.needs("tokens", neurons.tokens, at_least=8000)
    heavy = jackknife(lambda n: np.mean(n.kurtosis > HEAVY), neurons, resolution=1 / len(neurons))
    measure("share with kurtosis above 4.5", heavy, above=0.01, null=0.002)
