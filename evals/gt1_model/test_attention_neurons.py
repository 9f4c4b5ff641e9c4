"""GT1: do heads read what neurons write, and do some neurons turn heads towards BOS or away from it?"""

import numpy as np
import pytest

from pytest_unineuron import SMALL, by_unit
from pytest_unineuron.roles.bos_attention import bos_alignment
from pytest_unineuron.roles.head_composition import head_composition


@pytest.mark.gt1(source="Gurnee et al. 2024, section 5.3; catalogue GT1-H")
def test_neurons_write_along_bos_queries(weights, measure):
    """More neurons than chance has it write along the direction by which a later head attends to BOS."""
    measure.needs("layers", len(np.unique(weights.layer)), at_least=2)
    cosine, beyond = weights.role(bos_alignment)
    known = ~np.isnan(beyond)
    measure("share of neurons beyond 99 % of random directions", np.mean(beyond[known] > 0.99), higher_by=0.02)
    measure("largest cosine towards BOS, which turns a head off", np.nanmax(cosine))
    measure("largest cosine away from BOS", -np.nanmin(cosine))


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
