"""GT1: does a model need its universal neurons more than others like them?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import jackknife
from pytest_unineuron.roles.interventions import ablation_effects
from pytest_unineuron.roles.matching import matched

DRAWS = 2
"""Sets of matched neurons, drawn with the seeds 0, 1, …"""


@pytest.mark.gt1(source="Nandan et al. 2025, ablation of universal neurons; catalogue GT1-I")
def test_universal_neurons_matter(labelled, neurons, weights, runs, measure):
    """Predictions change more if universal neurons are set to their mean than if as many others like them are."""
    universal, layer = labelled.universal, weights.layer
    measure.needs("universal neurons", int(np.sum(universal)), at_least=30)
    sets = [universal]
    sets += [matched(universal, layer, weights.write_norm, neurons.density, seed=seed) for seed in range(DRAWS)]
    first = layer == layer.min()
    sets += [chosen & first for chosen in sets[:2]]
    effects = runs.role(ablation_effects, torch.from_numpy(np.stack(sets)))

    def ratio(effects):
        kl = effects.mean("kl")
        return kl[0] / np.mean(kl[1 : 1 + DRAWS])

    measure(
        "divergence of universal neurons over that of matched ones",
        jackknife(ratio, effects),
        above=1.0,
        higher_by=0.25,
    )
    kl, loss = effects.mean("kl"), effects.mean("loss")
    measure("divergence in nats, universal neurons", kl[0])
    measure("rise of the loss in nats, universal neurons", loss[0])
    measure("rise of the loss in nats, matched neurons", np.mean(loss[1 : 1 + DRAWS]))
    measure("divergence in nats, universal neurons of the first layer", kl[-2])
    measure("divergence in nats, matched neurons of the first layer", kl[-1])
    for name, values in (("norm", weights.write_norm), ("density", neurons.density)):
        measure(f"mean {name} of universal neurons", np.mean(values[universal]))
        measure(f"mean {name} of matched neurons", np.mean(values[sets[1]]))
