"""GT1: do heads read what neurons write, and do some neurons turn heads towards BOS or away from it?"""

from contextlib import suppress

import numpy as np
import pytest
import torch

from pytest_unineuron import SMALL, by_unit
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.roles.bos_attention import bos_alignment
from pytest_unineuron.roles.head_composition import head_composition
from pytest_unineuron.roles.path_ablation import added_attention
from pytest_unineuron.statistics.resampling import over_unit_groups


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.3; catalogue GT1-H")
def test_neurons_write_along_bos_queries(weights, runs, measure):
    """More neurons than chance has it write along the direction by which a later head attends to BOS."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    cosine, beyond, head = weights.role(bos_alignment)
    known = ~np.isnan(beyond)
    share = over_unit_groups(
        np.mean, weights.layer[known], beyond[known] > 0.99, resolution=1 / np.sum(known), limits=(0, 1)
    )
    measure("share of neurons beyond 99 % of random directions", share, higher_by=0.02)
    measure("largest cosine towards BOS, which turns a head off", np.nanmax(cosine))
    measure("largest cosine away from BOS", -np.nanmin(cosine))
    pairs = [[neuron, int(head[neuron])] for neuron in (np.nanargmax(cosine), np.nanargmin(cosine))]
    with suppress(NotApplicable):  # not every model returns its attention
        (up, down), (rise, fall) = runs.role(added_attention, torch.tensor(pairs))
        measure("attention to BOS that the first of these adds to its head", up)
        measure("attention to BOS that the second of these adds to its head", down)
        measure("correlation of that with its activation, the first of these", rise)
        measure("correlation of that with its activation, the second of these", fall)


@pytest.mark.gt1(source="Elhage et al. 2021, composition of neurons and heads; catalogue GT1-H1")
def test_heads_read_what_neurons_write(weights, measure):
    """Queries and values of later heads read what neurons write more than random directions, unlike in any null."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)

    def largest(part):
        return by_unit(lambda w: w.role(head_composition)[part][1].numpy(), weights)

    measure("share of random directions of smaller composition with queries", largest("query"), higher_by=SMALL)
    measure("share of random directions of smaller composition with values", largest("value"), higher_by=SMALL)
    found = weights.role(head_composition)
    measure("median largest composition with keys", np.nanmedian(found["key"][0]))
    measure("median largest composition of what heads write with what neurons read", np.nanmedian(found["output"][0]))
