"""GT1: do neurons of a new model raise or lower the logits of few tokens, and where?"""

import numpy as np
import pytest

from pytest_unineuron import SMALL, auroc, by_unit, jackknife, within
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.roles.orientation import orientation
from pytest_unineuron.statistics.resampling import UnitGroups, over_unit_groups


def late(layer):
    """Mark the neurons of the later half of the layers, without the middle one of an odd number, [neuron]."""
    layers = np.unique(layer)
    return layer > layers[(len(layers) - 1) // 2]


def in_halves(layer):
    """Mark the neurons of either half of the layers: all but those of the middle one of an odd number, [neuron]."""
    layers = np.unique(layer)
    return late(layer) | (layer < layers[len(layers) // 2])


def share_of(marked, layer):
    """The share of marked neurons, with an interval over groups of neurons."""
    return over_unit_groups(np.mean, layer, marked, resolution=1 / len(layer), limits=(0, 1))


def difference_of_shares(marked, chosen, layer):
    """The share of marked neurons among the chosen ones less that among the others, over groups of neurons."""

    def difference(marked, chosen):
        return np.mean(marked[chosen]) - np.mean(marked[~chosen])

    step = 1 / min(np.sum(chosen), np.sum(~chosen))
    return over_unit_groups(difference, layer, marked, chosen, resolution=step, limits=(-1, 1))


def median(values):
    """The median of the known values; nan if there is none."""
    known = values[~np.isnan(values)]
    return np.median(known) if len(known) else np.nan


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V")
def test_neurons_single_out_tokens(weights, measure):
    """In the later half of the layers, neurons write at fewer tokens than random directions do, unlike in any null."""
    composition = weights.composition
    beyond = by_unit(lambda w: w.composition_rank[late(w.layer)], weights, layer=lambda w: w.layer[late(w.layer)])
    measure("share of random directions of smaller kurtosis over the vocabulary", beyond, higher_by=SMALL)
    measure("median kurtosis over the vocabulary, later half", np.nanmedian(composition.kurtosis[late(weights.layer)]))
    share = share_of(composition.logit_neurons, weights.layer)
    measure("share of neurons with kurtosis above 10", share, higher_by=0.0025)


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1; catalogue GT1-V4")
def test_some_neurons_partition_the_vocabulary(weights, measure):
    """More neurons than random directions, and than in any null, raise one part of all tokens and lower the rest."""
    partition, layer = weights.composition.partition, weights.layer
    random = weights.random_composition.partition
    share = jackknife(
        lambda own, drawn: np.mean(own.values[0]) - np.mean(drawn.values[0]),
        UnitGroups(layer, partition),
        UnitGroups(np.zeros(len(random), dtype=int), random),
        resolution=1 / min(len(layer), len(random)),
    )
    measure("share of partition neurons, beyond random directions", share, higher_by=0.0002)
    measure("share of partition neurons", np.mean(partition))
    measure("median kurtosis of partition neurons", median(weights.composition.kurtosis[partition]))
    measure("median depth of partition neurons, from 0 to 1", median(layer[partition] / max(1, layer.max())))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V1")
def test_logit_neurons_are_late(weights, more, measure):
    """Neurons in the second half of the layers are directed at fewer tokens, and lean to one side of them, more."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    in_late, known = late(weights.layer), in_halves(weights.layer)
    # Of gated neurons, the sign of the skew is arbitrary.
    kurtosis, skew = weights.composition.kurtosis, np.abs(weights.composition.skew)
    for name, values in (("kurtosis", kurtosis), ("size of the skew", skew)):
        found = over_unit_groups(auroc, weights.layer[known], values[known], in_late[known], limits=(0, 1))
        measure(f"AUROC of the {name}, late against early layers", found, **more)


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V5")
def test_more_logit_neurons_are_late(weights, measure):
    """More neurons in the second half of the layers than in the first raise or lower the logits of few tokens."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    in_late, known, sharp = late(weights.layer), in_halves(weights.layer), weights.composition.logit_neurons
    share = difference_of_shares(sharp[known], in_late[known], weights.layer[known])
    measure("share with kurtosis above 10, late less early layers", share, above=0, higher_by=0.0025)
    measure("share with kurtosis above 10, late layers", np.mean(sharp[in_late]))
    measure("share with kurtosis above 10, early layers", np.mean(sharp[known & ~in_late]))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1; catalogue GT1-V2")
def test_universal_neurons_single_out_tokens(labelled, weights, more, measure):
    """Universal neurons are directed at fewer tokens of the vocabulary than the rest of their layer."""
    universal, composition = labelled.universal, weights.composition
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    layer = weights.layer
    kurtosis = over_unit_groups(within, layer, composition.kurtosis, universal, layer, limits=(0, 1))
    measure("AUROC of the kurtosis over the vocabulary within layers", kurtosis, **more)
    measure("share with kurtosis above 10, universal neurons", np.mean(composition.logit_neurons[universal]))
    measure("share with kurtosis above 10, other neurons", np.mean(composition.logit_neurons[~universal]))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V3")
def test_suppression_follows_prediction(weights, runs, more, measure):
    """Neurons that lower the logits of few tokens lie in later layers than those that raise them."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    composition, sign = weights.composition, runs.role(orientation)  # of gated neurons, the sign of the activation
    raising, lowering = composition.prediction(sign), composition.suppression(sign)
    measure.needs("neurons of prediction", int(np.sum(raising)), at_least=10)
    measure.needs("neurons of suppression", int(np.sum(lowering)), at_least=10)
    either = raising | lowering
    layer = weights.layer[either]
    depth = over_unit_groups(auroc, layer, layer.astype(float), lowering[either], limits=(0, 1))
    measure("AUROC of the layer, suppression against prediction", depth, **more)


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.1 and figure 6; catalogue GT1-V6")
def test_suppression_neurons_are_last(weights, runs, measure):
    """More neurons in the last tenth of the layers than in the tenth before lower the logits of few tokens."""
    layers = np.unique(weights.layer)
    tenth = len(layers) // 10
    if not tenth:
        raise NotApplicable(f"a tenth of {len(layers)} layers is less than one")
    last, known = weights.layer >= layers[-tenth], weights.layer >= layers[-2 * tenth]
    lowering = weights.composition.suppression(runs.role(orientation))  # of gated neurons, the sign of the activation
    measure.needs("neurons of suppression in the last two tenths", int(np.sum(lowering[known])), at_least=10)
    share = difference_of_shares(lowering[known], last[known], weights.layer[known])
    measure("share of suppression neurons, last tenth less the tenth before", share, above=0, higher_by=0.0025)
    measure("share of suppression neurons, last tenth", np.mean(lowering[last]))
    measure("share of suppression neurons, the tenth before", np.mean(lowering[known & ~last]))
