"""GT1: do heads read what neurons write, and do some neurons turn heads towards BOS or away from it?"""

import numpy as np
import pytest
import torch

from pytest_unineuron import MEDIUM, SMALL, by_unit, jackknife
from pytest_unineuron.roles.bos_attention import bos_alignment
from pytest_unineuron.roles.head_composition import head_composition
from pytest_unineuron.roles.matching import by_layer
from pytest_unineuron.roles.path_ablation import added_attention, correlation, moved
from pytest_unineuron.statistics.resampling import over_unit_groups

PAIRS = 8
"""So many neurons, each with the head along whose BOS query direction it writes, are tried."""


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.3; catalogue GT1-H")
def test_neurons_write_along_bos_queries(weights, measure):
    """More neurons than mixtures of them write along the direction by which a later head attends to BOS."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    cosine, beyond, _ = weights.role(bos_alignment)
    known = ~np.isnan(beyond)
    share = over_unit_groups(
        np.mean, weights.layer[known], beyond[known] > 0.99, resolution=1 / np.sum(known), limits=(0, 1)
    )
    measure("share of neurons beyond 99 % of mixtures of their layer", share, higher_by=0.02)
    measure("largest cosine towards BOS, which turns a head off", np.nanmax(cosine))
    measure("largest cosine away from BOS", -np.nanmin(cosine))


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.3, path ablation; catalogue GT1-H2")
def test_bos_neurons_move_attention(weights, runs, measure):
    """Neurons along BOS query directions move attention to BOS or away from it as these predict, more than in any null.

    The part of a neuron is taken out of the queries of one head alone.
    """
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    cosine, _, head = weights.role(bos_alignment)
    known = np.flatnonzero(~np.isnan(head))
    measure.needs("neurons with a later head", len(known), at_least=PAIRS)
    chosen = known[np.argsort(-np.abs(cosine[known]), kind="stable")[:PAIRS]]
    measure.lists("taken out of the queries of a head", by_layer(np.isin(np.arange(len(head)), chosen), weights.layer))
    pairs = np.stack([chosen, head[chosen].astype(int)], axis=1)
    effects = runs.thinned(2).role(added_attention, torch.from_numpy(pairs))

    def predicted(effects):
        return np.mean(np.sign(cosine[chosen]) * moved(effects))

    share = jackknife(predicted, effects, limits=(-1, 1))
    measure("attention that a standard deviation of a neuron moves as predicted", share, higher_by=0.01)
    measure("mean correlation of that with its activation", np.mean(np.sign(cosine[chosen]) * correlation(effects)))


@pytest.mark.gt1(source="Elhage et al. 2021, composition of neurons and heads; catalogue GT1-H1")
def test_heads_read_what_neurons_write(weights, measure):
    """Queries and values of later heads read what neurons write more than mixtures of it, unlike in any null."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=3)

    def largest(part):
        return by_unit(lambda w: w.role(head_composition)[part][1].numpy(), weights)

    measure("share of mixtures of smaller composition with queries", largest("query"), higher_by=SMALL)
    measure("share of mixtures of smaller composition with values", largest("value"), higher_by=MEDIUM)
    found = weights.role(head_composition)
    measure("median largest composition with keys", np.nanmedian(found["key"][0]))
    measure("median largest composition of what heads write with what neurons read", np.nanmedian(found["output"][0]))
