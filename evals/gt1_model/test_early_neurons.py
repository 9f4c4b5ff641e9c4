"""GT1: do neurons of the first layers respond to one word, to one letter, or go with the position in the context?"""

import numpy as np
import pytest

from pytest_unineuron import jackknife
from pytest_unineuron.roles.families import families
from pytest_unineuron.roles.letters import letter_neurons
from pytest_unineuron.statistics.resampling import UnitGroups, over_unit_groups

MEMBER = 0.5
"""The share of a neuron's variance that a word has to explain."""
TELLS = 0.9
"""The AUROC of a neuron that tells the tokens of a letter from others."""


@pytest.mark.gt1(source="Gurnee et al. 2024, section 4.3, unigram neurons; catalogue GT1-U")
def test_neurons_respond_to_single_words(runs, measure):
    """More neurons of the first two layers than mixtures of them, and than in any null, respond to one word.

    For each neuron the best of the frequent words is chosen on one half of the document groups and read on the other.
    """
    found = runs.role(families, "word")
    layers = np.unique(runs.layer)
    early = np.isin(runs.layer, layers[:2])
    mixtures = np.flatnonzero(np.isin(found.mixed_layer.numpy(), layers[:2]))
    drawn = UnitGroups(np.zeros(len(mixtures), dtype=int), mixtures)
    measure.needs("neurons with a word", int(np.sum(found.feature.numpy()[early] >= 0)), at_least=100)

    def beyond(f, drawn):
        mixed = f.mixed_reduction.numpy()[drawn.values[0]]
        return np.mean(f.reduction.numpy()[early] > MEMBER) - np.mean(mixed > MEMBER)

    share = jackknife(beyond, found, drawn, resolution=1 / min(np.sum(early), len(mixtures)))
    measure("share of which one word explains half, beyond random mixtures of neurons", share, higher_by=0.0025)
    explained = found.reduction.numpy()
    measure("share of neurons of which one word explains half, first two layers", np.mean(explained[early] > MEMBER))
    if not early.all():
        measure("the same, later layers", np.mean(explained[~early] > MEMBER))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 4.3, alphabet neurons; catalogue GT1-L")
def test_neurons_respond_to_first_letters(runs, measure):
    """For more letters than in any null, a neuron of the first two layers responds to tokens that begin with it.

    For each letter the best neuron is chosen on one half of the token types and read on the other.
    """
    found = runs.role(letter_neurons)
    letters = len(found.letters)
    measure.needs("letters with 8 token types", letters, at_least=10)
    own, permuted = found.auroc.numpy() >= TELLS, found.permuted.numpy() >= TELLS
    beyond = over_unit_groups(
        lambda own, permuted: np.mean(own) - np.mean(permuted),
        np.zeros(letters, dtype=int),
        own,
        permuted,
        resolution=1 / letters,
        limits=(-1, 1),
    )
    measure("share of letters with a neuron that tells their tokens, beyond permuted letters", beyond, higher_by=0.14)
    measure("share of letters with such a neuron", np.mean(own))
    measure("median AUROC of the best neurons", np.median(found.auroc.numpy()))
    measure("the same, permuted letters", np.median(found.permuted.numpy()))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 4.3, position neurons; catalogue GT1-P")
def test_neurons_go_with_position(runs, measure_position):
    """More neurons of the first quarter of layers than in any null rise, or fall, with position in all documents."""
    measure_position(runs)
