"""GT1: do neurons of a new model raise or lower the logits of few tokens, and where?"""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, auroc, by_unit, within


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V")
def test_neurons_single_out_tokens(weights, measure):
    """What neurons write is directed at fewer tokens of the vocabulary than in any null."""
    composition = weights.composition
    measure("kurtosis over the vocabulary", by_unit(lambda w: w.composition.kurtosis, weights), higher_by=MEDIUM)
    share = np.mean(composition.logit_neurons)
    measure("share of neurons with kurtosis above 10", share, higher_by=0.0025)
    measure("share of partition neurons", np.mean(composition.partition))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V1")
def test_logit_neurons_are_late(weights, more, measure):
    """Neurons in the second half of the layers are directed at fewer tokens than those in the first half."""
    layers = np.unique(weights.layer)
    measure.needs("layers", len(layers), at_least=2)
    late = weights.layer >= layers[(len(layers) + 1) // 2]
    early = weights.layer < layers[len(layers) // 2]
    known = late | early  # the middle one of an odd number of layers is in neither half
    kurtosis = weights.composition.kurtosis
    measure("AUROC of the kurtosis, late against early layers", auroc(kurtosis[known], late[known]), **more)
    measure("share with kurtosis above 10, late layers", np.mean(kurtosis[late] > 10))
    measure("share with kurtosis above 10, early layers", np.mean(kurtosis[early] > 10))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1; catalogue GT1-V2")
def test_universal_neurons_single_out_tokens(labelled, weights, more, measure):
    """Universal neurons are directed at fewer tokens of the vocabulary than the rest of their layer."""
    universal, composition = labelled.universal, weights.composition
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    kurtosis = within(composition.kurtosis, universal, weights.layer)
    measure("AUROC of the kurtosis over the vocabulary within layers", kurtosis, **more)
    measure("share with kurtosis above 10, universal neurons", np.mean(composition.logit_neurons[universal]))
    measure("share with kurtosis above 10, other neurons", np.mean(composition.logit_neurons[~universal]))
