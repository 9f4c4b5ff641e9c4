"""GT1: are there neurons in the last layer that write where the logits do not look, or along token frequency?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import jackknife
from pytest_unineuron.roles.matching import by_layer, matched
from pytest_unineuron.roles.mediation import frequency_mediation, scale_mediation
from pytest_unineuron.roles.null_space import null_space_fractions, random_shares
from pytest_unineuron.roles.token_frequency import frequency_correlations, random_correlations
from pytest_unineuron.statistics.resampling import against_draws

NEURONS = 4
"""So many strong neurons of the last layer, and as many matched ones, are set to their mean."""


DRAWS = 20
"""Sets of as many random directions, whose largest values a largest value is compared with."""


@pytest.fixture
def measure_mediation(weights, measure):
    """A function that claims that the neurons of the last layer with the largest ``values`` [neuron] act by one way.

    ``effects`` returns what happens to the entropy of predictions if neurons, by number, are set to their mean. They
    are compared with others of the same norm.
    """

    def measure_mediation(way, values, effects):
        layer, size = (of[last_layer(weights.layer)] for of in (weights.layer, weights.write_norm))
        chosen = np.isin(np.arange(len(values)), np.argsort(-values, kind="stable")[:NEURONS])
        sets = {"chosen": chosen, "matched": matched(chosen, layer, size)}
        for name, marked in sets.items():
            measure.lists(f"set to their mean: {name}", by_layer(marked, layer))
        neurons = np.concatenate([np.flatnonzero(marked) for marked in sets.values()])
        found = effects(torch.from_numpy(neurons))

        def beyond(found):
            mediated, direct = found.mean("mediated"), found.mean("direct")
            share = mediated / (mediated + direct)  # [neuron]
            return np.mean(share[:NEURONS]) - np.mean(share[NEURONS:])

        share = jackknife(beyond, found)
        measure(f"share of the change that {way} mediates, beyond matched neurons", share, higher_by=0.25)
        for name, part in zip(sets, (slice(NEURONS), slice(NEURONS, None)), strict=True):
            measure(f"mean change of the entropy in nats, {name} neurons", np.mean(found.mean("total")[part]))
            measure(f"the same without {way}, {name} neurons", np.mean(found.mean("direct")[part]))

    return measure_mediation


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
def test_the_scale_of_the_norm_mediates(weights, runs, measure_mediation, measure):
    """Strong neurons that write to the null space change entropy through the scale of the last norm, others less."""
    last = np.flatnonzero(last_layer(weights.layer))
    measure.needs("neurons in the last layer", len(last), at_least=100)
    null, size = weights.role(null_space_fractions)[last], weights.write_norm[last]
    strong = np.where(size >= np.quantile(size, 0.9), null, 0)
    measure_mediation("the scale", strong, lambda neurons: runs.role(scale_mediation, neurons))


@pytest.mark.gt1(source="Stolfo et al. 2024, section 4; catalogue GT1-F1")
def test_token_frequency_mediates(weights, runs, token_counts, measure_mediation, measure):
    """Neurons along token frequency change entropy by moving logits along it, others less."""
    last = last_layer(weights.layer)
    measure.needs("neurons in the last layer", int(np.sum(last)), at_least=100)
    measure.needs("tokens", int(token_counts.sum()), at_least=8000)
    along = np.nan_to_num(np.abs(weights.role(frequency_correlations, token_counts)[last]))
    measure_mediation("token frequency", along, lambda neurons: runs.role(frequency_mediation, neurons, token_counts))
