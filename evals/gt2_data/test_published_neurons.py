"""GT2: do the neurons that the paper published as universal look so on text it did not use?

These need --unineuron-findings and a model whose tables are in it.
"""

import numpy as np
import pytest

from pytest_unineuron import LARGE, SMALL, contrast, jackknife


@pytest.mark.gt2(source="Gurnee et al. 2024, figure 3, with the published neurons; catalogue GT2-P1")
def test_published_neurons_have_their_signature(published, neurons, more, less, measure):
    """The published neurons are heavier-tailed, more skewed and rarer than the rest of their layer."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure.needs("published neurons", int(np.sum(published)), at_least=30)
    measure("AUROC of the skew within layers", contrast(lambda n: n.skew, published, neurons), **more)
    measure("AUROC of the kurtosis within layers", contrast(lambda n: n.kurtosis, published, neurons), **more)
    measure("AUROC of the density within layers", contrast(lambda n: n.density, published, neurons), **less)


@pytest.mark.gt2(source="Gurnee et al. 2024, equation 3, with the published neurons; catalogue GT2-P2")
def test_published_neurons_are_found_again(published, universality, measure):
    """The published neurons are universal by a comparison with other seeds on this text, the others mostly not."""
    measure.needs("documents", universality.documents, at_least=60)
    measure.needs("published neurons", int(np.sum(published)), at_least=30)
    neurons = universality.neurons
    again = jackknife(
        lambda n: np.mean(n.universal[published]), neurons, resolution=1 / np.sum(published), limits=(0, 1)
    )
    measure("of those published, universal here", again, higher_by=0.1)
    measure(
        "AUROC of the excess within layers",
        contrast(lambda n: n.excess, published, neurons),
        above=LARGE,
        higher_by=SMALL - 0.5,
    )
    measure("share of universal neurons among all", neurons.share())
