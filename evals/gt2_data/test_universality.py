"""GT2: are neurons universal on new data, and are they the same ones?"""

import numpy as np
import pytest
from scipy import stats

from pytest_unineuron import jackknife, within


def agreement(one, other):
    """Rank agreement of the excess correlation inside each layer, averaged over layers."""
    layers = np.unique(one.layer)
    return float(np.mean([
        stats.spearmanr(one.excess[one.layer == k], other.excess[one.layer == k], nan_policy="omit").statistic
        for k in layers
    ]))  # fmt: skip


@pytest.mark.gt2(primary=True, source="Gurnee et al. 2024, equation 3, on other text; catalogue GT2-A")
def test_universality_on_new_data(reference_universality, universality, measure):
    """On text of another kind some neurons are universal, and the excess is not much less than on the reference."""
    measure.needs("further seeds", len(universality.seeds), at_least=2)
    measure.needs("documents", universality.documents, at_least=60)
    measure.needs("tokens", universality.tokens, at_least=8000)
    new, reference = universality.neurons, reference_universality.neurons
    measure("share of universal neurons", jackknife(lambda n: n.share(), new), above=0.0025, null=0.0005)
    ratio = jackknife(lambda n, r: n.mean_excess / r.mean_excess, new, reference)
    measure("mean excess over that on the reference", ratio, above=0.6)


@pytest.mark.gt2(source="catalogue GT2-B")
def test_the_same_neurons_are_universal(reference_universality, universality, measure):
    """Neurons that are more universal on the reference text are more universal on new text."""
    measure.needs("documents", universality.documents, at_least=60)
    new, reference = universality.neurons, reference_universality.neurons
    measure("rank agreement of the excess, within layers", jackknife(agreement, reference, new), above=0.40, null=0.25)
    measure("the same between halves of the reference", agreement(*reference.halves()))
    top = reference.excess >= np.nanquantile(reference.excess, 0.95)
    measure("AUROC of the reference's top 5 %, within layers", within(new.excess, top, new.layer), above=0.80)
    if reference.universal.any():
        measure("of the reference's universal neurons, universal again", np.mean(new.universal[reference.universal]))


@pytest.mark.gt2(source="Gurnee et al. 2024, figure 3, on other text; catalogue GT2-S")
def test_the_signature_persists(reference_universality, neurons, measure):
    """Neurons that are universal on the reference text are skewed and heavy-tailed on new text too."""
    universal = reference_universality.neurons.universal
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)

    def contrast(values):
        return jackknife(lambda n: within(values(n), universal, n.layer), neurons)

    measure("AUROC of the skew within layers", contrast(lambda n: n.skew), above=0.60)
    measure("AUROC of the kurtosis within layers", contrast(lambda n: n.kurtosis), above=0.60)


@pytest.mark.gt2(source="catalogue GT2-N, a trial that is known to be vacuous")
def test_density_persists(reference_neurons, neurons, measure):
    """Neurons that are often on are often on elsewhere: true of any fixed function, so this must be VACUOUS."""

    def persistence(one, other):
        return stats.spearmanr(one.density, other.density).statistic

    measure("rank agreement of the density", jackknife(persistence, reference_neurons, neurons), above=0.6)
