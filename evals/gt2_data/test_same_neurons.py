"""GT2: are neurons universal on new data, and are they the same ones?"""

import numpy as np
import pytest
from scipy import stats

from pytest_unineuron import LARGE, SMALL, contrast, jackknife

AGAIN = 0.4
"""Of the neurons that are universal on the reference text, the least share that is to be so on new text."""


def agreement(one, other):
    """Rank agreement of the excess correlation inside each layer, averaged over layers."""
    known = ~np.isnan(one.excess) & ~np.isnan(other.excess)
    layers = [known & (one.layer == number) for number in np.unique(one.layer)]
    found = [stats.spearmanr(one.excess[k], other.excess[k]).statistic for k in layers if k.sum() >= 3]
    return float(np.mean(found)) if found else np.nan


@pytest.mark.gt2(primary=True, source="Gurnee et al. 2024, equation 3, on other text; catalogue GT2-A")
def test_universality_on_new_data(reference_universality, universality, claimed, measure):
    """On text of another kind some neurons are universal, far more than of any null."""
    measure.needs("further seeds", len(universality.seeds), at_least=1)
    measure.needs("documents", universality.documents, at_least=60)
    measure.needs("tokens", universality.tokens, at_least=8000)
    new, reference = universality.neurons, reference_universality.neurons
    share = jackknife(lambda n: n.share(), new, resolution=1 / len(new), limits=(0, 1))
    measure("share of universal neurons", share, **claimed)

    def ratio(n, r):
        return n.mean_excess / r.mean_excess if r.mean_excess > 0 else np.nan

    measure("mean excess over that on the reference", jackknife(ratio, new, reference))


@pytest.mark.gt2(source="catalogue GT2-B, with an absolute label")
def test_the_same_neurons_are_universal(labelled, reference_universality, universality, claimed, measure):
    """Neurons that are universal on the reference text are universal on new text, far more than chance has it."""
    documents = min(universality.documents, reference_universality.documents)
    measure.needs("documents of either text", documents, at_least=60)
    new, reference = universality.neurons, labelled
    measure.needs("universal neurons", int(np.sum(reference.universal)), at_least=30)

    def both(r, n):
        chance = sum(
            np.sum(r.universal[n.layer == number]) * np.mean(n.universal[n.layer == number])
            for number in np.unique(n.layer)
        )
        return np.mean(r.universal & n.universal) - chance / len(n)

    def again(r, n):
        return np.mean(n.universal[r.universal]) if r.universal.any() else np.nan

    share = jackknife(both, reference, new, resolution=1 / len(new))
    measure("share universal on both, beyond chance within layers", share, higher_by=AGAIN * claimed["higher_by"])
    excess = contrast(lambda n: n.excess, reference.universal, new)
    measure("AUROC of the reference's universal neurons, within layers", excess, above=LARGE, higher_by=SMALL - 0.5)
    replicated = jackknife(again, reference, new, resolution=1 / np.sum(reference.universal), limits=(0, 1))
    measure("of those universal on the reference, universal again", replicated)
    measure("what chance would have of them", new.share())
    # Any fixed function keeps some of these ranks; they are evidence only beyond what the controls show.
    measure("rank agreement of the excess, within layers", agreement(reference, new))
    measure("the same between halves of the reference", agreement(*reference.halves()))


@pytest.mark.gt2(source="Gurnee et al. 2024, figure 3, on other text; catalogue GT2-S")
def test_the_signature_persists(labelled, neurons, more, measure):
    """Neurons that are universal on the reference text are skewed and heavy-tailed on new text too."""
    universal = labelled.universal
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    measure("AUROC of the skew within layers", contrast(lambda n: n.skew, universal, neurons), **more)
    measure("AUROC of the kurtosis within layers", contrast(lambda n: n.kurtosis, universal, neurons), **more)


@pytest.mark.gt2(source="catalogue GT2-N, a trial that is known to be vacuous")
def test_density_persists(reference_neurons, neurons, measure):
    """Neurons that are often on are often on elsewhere: true of any fixed function, so this must be VACUOUS."""

    def persistence(one, other):
        return stats.spearmanr(one.density, other.density).statistic

    measure("rank agreement of the density", jackknife(persistence, reference_neurons, neurons), above=0.6)
