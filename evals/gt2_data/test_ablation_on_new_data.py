"""GT2: do predictions of text of another kind need the neurons that were chosen on the reference text?"""

import numpy as np
import pytest


@pytest.mark.gt2(source="Nandan et al. 2025, ablation of universal neurons, on other text; catalogue GT2-I")
def test_universal_neurons_matter_on_new_data(labelled, measure_ablation, measure):
    """Neurons that are universal on the reference text move predictions of new text more than others like them."""
    measure.needs("universal neurons", int(np.sum(labelled.universal)), at_least=30)
    measure_ablation("universal neurons", labelled.universal)


@pytest.mark.gt2(
    source="Nandan et al. 2025, by the signature of Gurnee et al. 2024, figure 3, on other text; catalogue GT2-I1",
    # Units of a rotated basis cannot be set to their mean one by one.
    controls=["untrained", "reinitialised", "shuffled"],
)
def test_heavy_neurons_matter_on_new_data(reference_neurons, heaviest, measure_ablation, measure):
    """The tenth of a layer with the heaviest tails on the reference text moves predictions of new text more."""
    measure.needs("documents of reference text", reference_neurons.documents, at_least=64)
    measure_ablation("heavy neurons", heaviest(reference_neurons.kurtosis, reference_neurons.layer))
