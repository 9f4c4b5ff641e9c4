"""GT2: do neurons answer to features of a text that can be named?"""

import numpy as np
import pytest

from pytest_unineuron import LARGE, auroc, jackknife
from pytest_unineuron.roles.families import families
from pytest_unineuron.statistics.resampling import UnitGroups

MEMBER = 0.5
"""The share of a neuron's variance that a feature has to explain to be its family."""


@pytest.mark.gt2(source="Gurnee et al. 2024, section 4.3; catalogue GT2-F")
def test_neurons_form_families(runs, measure):
    """More neurons than mixtures of them, and than in any null, answer to one word, spelling or position above all.

    For each neuron the best feature is chosen on one half of the document groups and read on the other.
    """
    found = runs.role(families)
    explained = found.reduction.numpy()
    measure.needs("neurons with a feature", int(np.sum(~np.isnan(explained))), at_least=100)

    def beyond(f, drawn):
        return np.mean(f.reduction.numpy() > MEMBER) - np.mean(f.mixed_reduction.numpy()[drawn.values[0]] > MEMBER)

    def above_permuted(f):
        either = np.concatenate([f.reduction.numpy(), f.permuted_reduction.numpy()])
        return auroc(either, np.arange(len(either)) < len(f.feature))

    mixtures = found.mixed_layer.numpy()
    drawn = UnitGroups(mixtures, np.arange(len(mixtures)))
    share = jackknife(beyond, found, drawn, resolution=1 / min(len(explained), len(mixtures)))
    measure("share of which one feature explains half, beyond random mixtures of neurons", share, higher_by=0.0025)
    measure("share of neurons of which one feature explains half", np.mean(explained > MEMBER))
    measure("AUROC against permuted features", jackknife(above_permuted, found, limits=(0, 1)), above=LARGE)
    measure("share of neurons of which no feature explains 5 %", np.mean(explained < 0.05))
