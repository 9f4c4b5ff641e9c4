"""GT1: are activations heavy-tailed in a model nobody studied?"""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, by_unit


@pytest.mark.gt1(source="notebook")
def test_notebook_activation_kurtosis(neurons, measure):
    """Activations of a new model are not Gaussian (all residual dimensions and tokens in one array)."""
    measure("pooled kurtosis, middle residual stream", neurons.residual.pooled_kurtosis, above=3.0)


@pytest.mark.gt1(primary=True, source="Gurnee et al. 2024, section 4.1 and figure 3; catalogue GT1-K")
def test_heavy_tailed_neurons(neurons, measure):
    """The neurons of a new model are heavier-tailed before the activation function than those of any null."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure.needs("tokens", neurons.tokens, at_least=8000)
    measure("kurtosis", by_unit(lambda n: n.kurtosis, neurons), higher_by=MEDIUM)
    measure("share with kurtosis above 4.5", np.mean(neurons.kurtosis > 4.5))
    measure("the same with attention sinks", np.mean(neurons.with_sinks.kurtosis > 4.5))
