"""GT1: are there universal neurons in a model nobody studied, and do they look like the paper's?"""

import numpy as np
import pytest

from pytest_unineuron import contrast, jackknife, within
from pytest_unineuron.statistics.resampling import over_unit_groups, over_units


@pytest.mark.gt1(primary=True, source="Gurnee et al. 2024, section 4.1, equation 3; catalogue GT1-A")
def test_neurons_are_universal(universality, claimed, measure):
    """Some neurons have a large excess correlation with neurons of other seeds, and far fewer of any null do."""
    measure.needs("further seeds", len(universality.seeds), at_least=1)
    measure.needs("documents", universality.documents, at_least=300)
    measure.needs("tokens", universality.tokens, at_least=20_000)
    neurons = universality.neurons
    share = jackknife(lambda n: n.share(), neurons, resolution=1 / len(neurons), limits=(0, 1))
    measure("share of universal neurons", share, **claimed)
    if len(universality.seeds) > 1:
        seeds = np.arange(len(universality.seeds))
        between = over_units(lambda kept: neurons.in_seeds(kept).share(), seeds, units="seeds")
        measure("share of universal neurons, with an interval over seeds", between)
    measure("excess correlation from which neurons count as universal", universality.threshold)
    measure("mean excess correlation", jackknife(lambda n: n.mean_excess, neurons))
    measure("share with excess above 0.5", neurons.share(0.5))
    measure("share with excess above 0.3", neurons.share(0.3))
    measure("share with excess above 0.5 by the paper's procedure", neurons.paper_share)
    measure("neurons that never varied", neurons.constant)


@pytest.mark.gt1(source="Gurnee et al. 2024, figure 3; catalogue GT1-B")
def test_universal_neurons_have_a_signature(labelled, neurons, weights, more, less, measure):
    """Universal neurons are heavier-tailed, more skewed, rarer and lower in bias than the rest of their layer."""
    universal = labelled.universal
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    measure("AUROC of the skew within layers", contrast(lambda n: n.skew, universal, neurons), **more)
    measure("AUROC of the kurtosis within layers", contrast(lambda n: n.kurtosis, universal, neurons), **more)
    measure("AUROC of the density within layers", contrast(lambda n: n.density, universal, neurons), **less)
    bias = over_unit_groups(within, neurons.layer, weights.bias, universal, neurons.layer, limits=(0, 1))
    measure("AUROC of the bias within layers", bias, **less)
    measure("AUROC of the squared norms within layers", within(weights.size, universal, neurons.layer))


@pytest.mark.gt1(source="Gurnee et al. 2024, figure 2c; catalogue GT1-D")
def test_matches_lie_at_the_same_depth(universality, measure):
    """The best match of a universal neuron lies in the same layer of the other model."""
    neurons = universality.neurons
    universal = neurons.universal
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    measure.needs("layers", len(np.unique(neurons.layer)), at_least=2)
    same = np.mean(neurons.partner_layer == neurons.layer, axis=0)  # [neuron], over seeds

    def near(n):
        return np.mean(same[n.universal]) if n.universal.any() else np.nan

    share = jackknife(near, neurons, resolution=1 / np.sum(universal), limits=(0, 1))
    measure("share of matches in the same layer, universal neurons", share, above=0.5, higher_by=0.1)
    measure("share of matches in the same layer, all neurons", np.mean(same))
