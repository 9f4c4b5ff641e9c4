"""GT1: are there neurons in the last layer that write where the logits do not look, or along token frequency?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import jackknife
from pytest_unineuron.roles.matching import matched
from pytest_unineuron.roles.null_space import null_space_fractions, random_shares
from pytest_unineuron.roles.scale_mediation import scale_mediation
from pytest_unineuron.roles.token_frequency import frequency_correlations, random_correlations
from pytest_unineuron.statistics.resampling import against_draws

NEURONS = 4
"""So many strong neurons of the last layer, and as many matched ones, are set to their mean."""


DRAWS = 20
"""Sets of as many random directions, whose largest values a largest value is compared with."""


def last_layer(layer):
    """Mark the neurons of the last layer, [neuron]."""
    return layer == layer.max()


@pytest.mark.gt1(source="Stolfo et al. 2024, section 3.1; Gurnee et al. 2024, section 5.2; catalogue GT1-E")
def test_strong_neurons_write_to_the_null_space(weights, measure):
    """Some of the strongest neurons of the last layer write mostly where the unembedding hardly looks."""
    last = last_layer(weights.layer)
    measure.needs("neurons in the last layer", int(np.sum(last)), at_least=100)
    share = weights.role(null_space_fractions)[last] ** 2
    size, variance = weights.write_norm[last], weights.composition.variance[last]
    strong = size >= np.quantile(size, 0.9)
    random = weights.role(random_shares, int(np.sum(strong)), DRAWS)
    largest = against_draws(np.nanmax(share[strong]), random.max(axis=1))
    measure(
        "largest share of a strong write vector in the null space, beyond random directions", largest, higher_by=0.25
    )
    measure("that share", np.nanmax(share[strong]))
    measure("median share in the last layer", np.nanmedian(share))
    found = np.flatnonzero(strong)[np.nanargmax(share[strong])]
    measure("share of neurons that write less than this one", np.mean(size < size[found]))
    measure("share of neurons of smaller composition than this one", np.mean(variance < variance[found]))


@pytest.mark.gt1(source="Stolfo et al. 2024, section 4; catalogue GT1-F")
def test_neurons_follow_token_frequency(weights, token_counts, measure):
    """Some neuron of the last layer moves logits along token frequency more than random directions of the stream do."""
    last = last_layer(weights.layer)
    measure.needs("tokens", int(token_counts.sum()), at_least=8000)
    own = np.abs(weights.role(frequency_correlations, token_counts)[last])
    random = np.abs(weights.role(random_correlations, token_counts, len(own), DRAWS))  # [draw, direction]
    largest = against_draws(np.nanmax(own), np.nanmax(random, axis=1))
    measure("largest correlation, beyond random directions", largest, higher_by=0.1)
    measure("largest correlation with log frequency", np.nanmax(own))
    measure("median correlation with log frequency", np.nanmedian(own))


@pytest.mark.gt1(source="Stolfo et al. 2024, section 3.2; Gurnee et al. 2024, section 5.2; catalogue GT1-E1")
def test_the_scale_of_the_norm_mediates(weights, runs, measure):
    """Strong neurons that write to the null space change entropy through the scale of the last norm, others less."""
    last = np.flatnonzero(last_layer(weights.layer))
    measure.needs("neurons in the last layer", len(last), at_least=100)
    null, size = weights.role(null_space_fractions)[last], weights.write_norm[last]
    candidates = np.argsort(np.where(size >= np.quantile(size, 0.9), -null, 0), kind="stable")[:NEURONS]
    chosen = np.isin(np.arange(len(last)), candidates)
    others = matched(chosen, weights.layer[last], size)
    neurons = np.concatenate([np.flatnonzero(chosen), np.flatnonzero(others)])
    effects = runs.role(scale_mediation, torch.from_numpy(neurons))

    def beyond(effects):
        mediated, direct = effects.mean("mediated"), effects.mean("direct")
        share = mediated / (mediated + direct)  # [neuron]
        return np.mean(share[:NEURONS]) - np.mean(share[NEURONS:])

    measure(
        "share of the change that the scale mediates, beyond matched neurons",
        jackknife(beyond, effects),
        higher_by=0.25,
    )
    for name, part in (("strong neurons in the null space", slice(NEURONS)), ("others", slice(NEURONS, None))):
        measure(f"mean change of the entropy in nats, {name}", np.mean(effects.mean("total")[part]))
        measure(f"the same under the frozen scale, {name}", np.mean(effects.mean("direct")[part]))
