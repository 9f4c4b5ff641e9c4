"""GT2: do neurons that are heavy-tailed on the reference text stay so on text of another kind?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife

HEAVY = 4.5


@pytest.mark.gt2(source="notebook")
def test_notebook_heavy_tails(neurons, measure):
    """Activations stay non-Gaussian on new data (all residual dimensions and tokens in one array)."""
    measure("pooled kurtosis, middle residual stream", neurons.residual.pooled_kurtosis, above=3.0)


@pytest.mark.gt2(source="Gurnee et al. 2024, section 4.1; catalogue GT2-C")
def test_heavy_tails_replicate(reference_neurons, neurons, measure):
    """Neurons that are heavy-tailed on the reference text are heavy-tailed on text the model never saw."""
    for corpus in (reference_neurons, neurons):
        measure.needs("documents", corpus.documents, at_least=64)
        measure.needs("tokens", corpus.tokens, at_least=8000)

    def on_both(reference, new):
        return np.mean((reference.kurtosis > HEAVY) & (new.kurtosis > HEAVY))

    def replicated(reference, new):
        heavy = reference.kurtosis > HEAVY
        return np.mean(new.kurtosis[heavy] > HEAVY) if heavy.any() else np.nan

    share = jackknife(on_both, reference_neurons, neurons, resolution=1 / len(neurons))
    measure("share heavy on both", share, above=0.01, null=0.002)
    heavy = max(1, np.sum(reference_neurons.kurtosis > HEAVY))
    again = jackknife(replicated, reference_neurons, neurons, resolution=1 / heavy)
    measure("of those heavy on the reference, heavy again", again, above=0.40)
