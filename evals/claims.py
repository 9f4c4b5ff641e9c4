"""Claims that trials of more than one criterion make, and units that these are made of, as fixtures for conftest.py.

Each imports what it needs itself: pytest reads conftest files before it finds a mistake in an option, and PyTorch takes
seconds to import.
"""

import math

import pytest

__all__ = [
    "claimed",
    "first_layers",
    "heaviest",
    "less",
    "measure_ablation",
    "measure_bias_of_active",
    "measure_heavy_bias",
    "measure_position",
    "more",
]

PARTS = 8
"""Sets that neurons are dealt into. With few neurons, it makes a difference which ones a layer happens to have."""
ROUNDING = 1e-10
"""Divergences in nats that may come from the rounding of float32 logits alone."""
QUARTER = math.log(1.25)
"""The logarithm of a ratio that is larger by a quarter."""


@pytest.fixture
def claimed(universality):
    """The share of universal units that is claimed, of all units and beyond that of every control.

    In models of 100 million parameters and more, above the paper's ϱ of 0.5; in smaller ones, above 0.4.
    """
    least = 0.0025 if universality.threshold >= 0.5 else 0.005
    return {"above": least, "higher_by": least}


@pytest.fixture
def more():
    """A small effect of selected neurons against the rest of their layer, and of the model against every control."""
    from pytest_unineuron import SMALL

    return {"above": SMALL, "higher_by": SMALL - 0.5}


@pytest.fixture
def less():
    """The same in the other direction."""
    from pytest_unineuron import SMALL

    return {"below": 1 - SMALL, "lower_by": SMALL - 0.5}


@pytest.fixture
def heaviest():
    """A function that marks the tenth of the neurons of each layer that have the largest kurtosis, [neuron]."""
    return lambda kurtosis, layer: above_quantile(kurtosis, layer, 0.9)


def above_quantile(values, layer, share):
    """Mark the units [unit] whose value is above the quantile of their layer that so large a share lies below."""
    import numpy as np

    marked = np.zeros(len(layer), dtype=bool)
    for number in np.unique(layer):
        here = layer == number
        marked[here] = values[here] > np.nanquantile(values[here], share)
    return marked


@pytest.fixture
def first_layers(weights):
    """A function that marks the neurons in a first share of the layers, of one layer at least, [neuron].

    With ``layer`` [unit] it marks other units, such as heads.
    """
    import numpy as np

    def first(share, layer=weights.layer):
        numbers = np.unique(layer)
        return np.isin(layer, numbers[: max(1, round(len(numbers) * share))])

    return first


@pytest.fixture
def measure_heavy_bias(neurons, weights, heaviest, less, measure):
    """A function that claims that the heaviest-tailed tenth of a layer has a lower folded bias than the rest of it."""
    from pytest_unineuron import jackknife, within

    def measure_heavy_bias():
        measure.needs("documents", neurons.documents, at_least=64)
        auroc = jackknife(
            lambda n: within(weights.bias, heaviest(n.kurtosis, n.layer), n.layer), neurons, limits=(0, 1)
        )
        measure("AUROC of the bias within layers", auroc, **less)

    return measure_heavy_bias


@pytest.fixture
def measure_bias_of_active(neurons, weights, measure):
    """A function that claims that the half of a layer that is on more often has a higher folded bias than the other.

    Controls must not even lean to that side. All biases of an untrained model are 0 and have no rank correlation with
    anything, but they have an AUROC.
    """
    from pytest_unineuron import jackknife, within

    def measure_bias_of_active():
        bias = weights.bias  # first, so that a model without biases is not run
        measure.needs("documents", neurons.documents, at_least=64)
        auroc = jackknife(
            lambda n: within(bias, above_quantile(n.density, n.layer, 0.5), n.layer), neurons, limits=(0, 1)
        )
        measure("AUROC of the bias within layers, neurons on more often than the median", auroc, above=0.5, null=0.5)

    return measure_bias_of_active


@pytest.fixture
def measure_position(weights, first_layers, measure):
    """A function that claims that more neurons of the first layers than in any null clearly go with position.

    It is given runs over one or more texts. Correlations with the position have to be beyond ±0.8, of one sign, in
    either half of each.
    """
    import numpy as np

    from pytest_unineuron.roles.position import position_correlations, position_information
    from pytest_unineuron.statistics.resampling import over_unit_groups

    def measure_position(*texts):
        found, positions = zip(*(runs.role(position_correlations) for runs in texts), strict=True)
        measure.needs("positions of 8 tokens in either half", min(positions), at_least=16)
        correlations, early, layer = np.concatenate(found), first_layers(1 / 4), weights.layer
        with_position = (correlations > 0.8).all(axis=0) | (correlations < -0.8).all(axis=0)
        step = 1 / np.sum(early)
        share = over_unit_groups(np.mean, layer[early], with_position[early], resolution=step, limits=(0, 1))
        measure("share that clearly goes with position, first quarter of layers", share, higher_by=0.01)
        if not early.all():
            measure("the same, later layers", np.mean(with_position[~early]))
        told = np.min([runs.role(position_information)[early] for runs in texts], axis=0)
        measure("largest information of being on about the position, in nats, first quarter of layers", told.max())

    return measure_position


@pytest.fixture
def measure_ablation(neurons, weights, runs, measure):
    """A function that claims that predictions depend on marked neurons more than on matched ones of the same layers.

    Neurons are set to their mean an eighth at a time, and the logarithms of what that does are averaged, so that one
    neuron of great effect does not decide. The interval leaves out documents, and eighths. The first layer is left out
    of the claim and measured apart: predictions depend on any of its neurons.
    """
    import numpy as np
    import torch

    from pytest_unineuron import jackknife
    from pytest_unineuron.roles.interventions import ablation_effects
    from pytest_unineuron.roles.matching import as_many, by_layer, dealt, matched
    from pytest_unineuron.statistics.resampling import UnitGroups

    layer = weights.layer
    first = layer == layer.min()

    def measure_ablation(name, marked):
        measure.needs(f"{name} behind the first layer", int(np.sum(marked & ~first)), at_least=10)
        like, sets = (weights.write_norm, neurons.density), {}
        for where, here, count in (("", marked & ~first, PARTS), (" of the first layer", marked & first, 1)):
            others = matched(here, layer, *like)
            for kind, chosen in ((name, as_many(here, others, layer)), ("matched", others)):
                sets |= {f"{kind}{where}{part_name(n, count)}": part for n, part in enumerate(dealt(chosen, count))}
        for title, chosen in sets.items():
            measure.lists(f"set to their mean: {title}", by_layer(chosen, layer))
        masks = np.stack(list(sets.values()))  # [set, neuron]
        # Which neurons are set makes more of a difference than on how many tokens.
        effects = runs.thinned(2).role(ablation_effects, torch.from_numpy(masks))

        def log_ratio(effects, marked, others):
            kl = effects.mean("kl")
            changes = np.concatenate([kl[marked], kl[others]]) > ROUNDING
            return np.mean(np.log(kl[marked])) - np.mean(np.log(kl[others])) if changes.all() else np.nan

        part = np.arange(PARTS)  # those of marked neurons come first, then those of matched ones
        eighths = UnitGroups(np.zeros(PARTS), part, PARTS + part, number=part)
        found = jackknife(lambda e, kept: log_ratio(e, *kept.values), effects, eighths)
        measure(f"mean log of the divergence of {name} over that of matched ones", found, above=0, higher_by=QUARTER)
        measure("the same in the first layer", jackknife(lambda e: log_ratio(e, [-2], [-1]), effects))
        kl, loss = effects.mean("kl"), effects.mean("loss")
        for title, numbers in (
            (f"an eighth of {name}", part),
            ("an eighth of matched neurons", PARTS + part),
            (f"{name} of the first layer", [-2]),
            ("matched neurons of the first layer", [-1]),
        ):
            measure(f"divergence in nats, {title}", np.mean(kl[numbers]))
            measure(f"rise of the loss in nats, {title}", np.mean(loss[numbers]))
        for value, values in zip(("norm", "density"), like, strict=True):
            for kind, numbers in ((name, part), ("matched neurons", PARTS + part)):
                measure(f"mean {value}, {kind}", np.mean(values[masks[numbers].any(axis=0)]))

    return measure_ablation


def part_name(number, count):
    """The end of the name of a part; none if it is the whole."""
    return f", part {number + 1}" if count > 1 else ""
