"""GT1: does a model need its universal neurons, or those that look like them, more than others?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import jackknife
from pytest_unineuron.roles.interventions import ablation_effects
from pytest_unineuron.roles.matching import by_layer, dealt, matched
from pytest_unineuron.statistics.resampling import UnitGroups

PARTS = 8
"""Sets that neurons are dealt into. With few neurons, it makes a difference which ones a layer happens to have."""
QUARTER = np.log(1.25)
"""The logarithm of a ratio that is larger by a quarter."""


@pytest.fixture
def measure_ablation(neurons, weights, runs, measure):
    """A function that claims that predictions depend on marked neurons more than on matched ones of the same layers.

    Neurons are set to their mean an eighth at a time. The interval leaves out documents, and eighths; ratios that few
    neurons make are skewed, so it is one of their logarithm. The first layer is left out of the claim and measured
    apart: predictions depend on any of its neurons.
    """
    layer = weights.layer
    first = layer == layer.min()

    def measure_ablation(name, marked):
        measure.needs(f"{name} behind the first layer", int(np.sum(marked & ~first)), at_least=10)
        like, sets = (weights.write_norm, neurons.density), {}
        for where, here, count in (("", marked & ~first, PARTS), (" of the first layer", marked & first, 1)):
            for kind, chosen in ((name, here), ("matched", matched(here, layer, *like))):
                sets |= {f"{kind}{where}{part_name(n, count)}": part for n, part in enumerate(dealt(chosen, count))}
        for title, chosen in sets.items():
            measure.lists(f"set to their mean: {title}", by_layer(chosen, layer))
        masks = np.stack(list(sets.values()))  # [set, neuron]
        # Which neurons are set makes more of a difference than on how many tokens.
        effects = runs.thinned(2).role(ablation_effects, torch.from_numpy(masks))

        def log_ratio(effects, marked, others):
            kl = effects.mean("kl")
            marked, others = kl[marked].sum(), kl[others].sum()
            return np.log(marked / others) if marked > 0 and others > 0 else np.nan

        part = np.arange(PARTS)  # those of marked neurons come first, then those of matched ones
        eighths = UnitGroups(np.zeros(PARTS), part, PARTS + part, number=part)
        found = jackknife(lambda e, kept: log_ratio(e, *kept.values), effects, eighths)
        measure(f"log of the divergence of {name} over that of matched ones", found, above=0, higher_by=QUARTER)
        measure("the same in the first layer", jackknife(lambda e: log_ratio(e, [-2], [-1]), effects))
        for title, kl, loss in zip(sets, effects.mean("kl"), effects.mean("loss"), strict=True):
            measure(f"divergence in nats, {title}", kl)
            measure(f"rise of the loss in nats, {title}", loss)
        for value, values in zip(("norm", "density"), like, strict=True):
            for kind, numbers in ((name, part), ("matched neurons", PARTS + part)):
                measure(f"mean {value}, {kind}", np.mean(values[masks[numbers].any(axis=0)]))

    return measure_ablation


def part_name(number, count):
    """The end of the name of a part; none if it is the whole."""
    return f", part {number + 1}" if count > 1 else ""


@pytest.mark.gt1(source="Nandan et al. 2025, ablation of universal neurons; catalogue GT1-I")
def test_universal_neurons_matter(labelled, measure_ablation, measure):
    """Predictions change more if universal neurons are set to their mean than if as many others like them are."""
    measure.needs("universal neurons", int(np.sum(labelled.universal)), at_least=30)
    measure_ablation("universal neurons", labelled.universal)


@pytest.mark.gt1(
    source="Nandan et al. 2025, by the signature of Gurnee et al. 2024, figure 3; catalogue GT1-I1",
    # Units of a rotated basis cannot be set to their mean one by one.
    controls=["untrained", "reinitialised", "shuffled"],
)
def test_heavy_neurons_matter(neurons, heaviest, measure_ablation, measure):
    """Predictions change more if the heaviest-tailed tenth of a layer is set to its mean than if others like it are."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure_ablation("heavy neurons", heaviest(neurons.kurtosis, neurons.layer))
