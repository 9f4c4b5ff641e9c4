"""GT2: do neurons answer to features of a text that can be named?"""

import numpy as np
import pytest

from pytest_unineuron import LARGE, auroc
from pytest_unineuron.roles.families import families

MEMBER = 0.5
"""The share of a neuron's variance that a feature has to explain to be its family."""


@pytest.mark.gt2(source="Gurnee et al. 2024, section 4.3; catalogue GT2-F")
def test_neurons_form_families(runs, measure):
    """More neurons than mixtures of them, and than in any null, answer to one word, spelling or position above all.

    For each neuron the best feature is chosen on one half of the document groups and read on the other.
    """
    found = runs.role(families)
    explained, permuted = found["reduction"].numpy(), found["permuted"].numpy()
    measure.needs("neurons with a feature", int(np.sum(~np.isnan(explained))), at_least=100)
    beyond = np.mean(explained > MEMBER) - np.mean(found["mixed"].numpy() > MEMBER)
    measure("share of which one feature explains half, beyond random mixtures of neurons", beyond, higher_by=0.0025)
    measure("share of neurons of which one feature explains half", np.mean(explained > MEMBER))
    either = np.concatenate([explained, permuted])
    measure("AUROC against permuted features", auroc(either, np.arange(len(either)) < len(explained)), above=LARGE)
    measure("share of neurons of which no feature explains 5 %", np.mean(explained < 0.05))
