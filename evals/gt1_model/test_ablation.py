"""GT1: does a model need its universal neurons, or those that look like them, more than others?"""

import numpy as np
import pytest


@pytest.mark.gt1(source="Nandan et al. 2025, ablation of universal neurons; catalogue GT1-I")
def test_universal_neurons_matter(labelled, measure_ablation, measure):
    """Predictions change more if universal neurons are set to their mean than if as many others like them are."""
    measure.needs("universal neurons", int(np.sum(labelled.universal)), at_least=30)
    measure_ablation("universal neurons", labelled.universal)


@pytest.mark.gt1(
    source="Nandan et al. 2025, by the signature of Gurnee et al. 2024, figure 3; catalogue GT1-I1",
    # Units of a rotated basis cannot be set to their mean one by one.
    controls=["untrained", "reinitialised", "shuffled"],
)
def test_heavy_neurons_matter(neurons, heaviest, measure_ablation, measure):
    """Predictions change more if the heaviest-tailed tenth of a layer is set to its mean than if others like it are."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure_ablation("heavy neurons", heaviest(neurons.kurtosis, neurons.layer))
