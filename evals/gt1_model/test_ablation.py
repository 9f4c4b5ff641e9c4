"""GT1: does a model need its universal neurons, or those that look like them, more than others?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import jackknife
from pytest_unineuron.roles.interventions import ablation_effects
from pytest_unineuron.roles.matching import by_layer, matched

DRAWS = 2
"""Sets of matched neurons, drawn with the seeds 0, 1, …"""


@pytest.fixture
def measure_ablation(neurons, weights, runs, measure):
    """A function that claims that predictions depend on marked neurons more than on matched ones of the same layers.

    The first layer is left out of the claim and measured apart: predictions depend on any of its neurons.
    """
    layer = weights.layer
    first = layer == layer.min()

    def measure_ablation(name, marked):
        measure.needs(f"{name} behind the first layer", int(np.sum(marked & ~first)), at_least=10)
        like, sets = (weights.write_norm, neurons.density), {}
        for part, here in (("", marked & ~first), (" of the first layer", marked & first)):
            sets[f"{name}{part}"] = here
            sets |= {f"matched{part}, seed {s}": matched(here, layer, *like, seed=s) for s in range(DRAWS)}
        for title, chosen in sets.items():
            measure.lists(f"set to their mean: {title}", by_layer(chosen, layer))
        effects = runs.role(ablation_effects, torch.from_numpy(np.stack(list(sets.values()))))

        def ratio(effects, start=0):
            kl = effects.mean("kl")[start : start + 1 + DRAWS]
            return kl[0] / np.mean(kl[1:]) if np.any(kl[1:]) else np.nan

        found = jackknife(ratio, effects)
        measure(f"divergence of {name} over that of matched ones", found, above=1.0, higher_by=0.25)
        measure("the same in the first layer", jackknife(lambda e: ratio(e, 1 + DRAWS), effects))
        for title, kl, loss in zip(sets, effects.mean("kl"), effects.mean("loss"), strict=True):
            measure(f"divergence in nats, {title}", kl)
            measure(f"rise of the loss in nats, {title}", loss)
        for value, values in zip(("norm", "density"), like, strict=True):
            for title, chosen in list(sets.items())[:2]:
                measure(f"mean {value}, {title}", np.mean(values[chosen]))

    return measure_ablation


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
