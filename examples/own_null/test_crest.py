"""A claim with a statistic and a control of one's own."""

import pytest

from pytest_unineuron import SMALL, by_unit


@pytest.mark.gt1(primary=True, source="an example", controls=["untrained", "exchanged-inputs"])
def test_neurons_have_high_crests(unineuron_neurons, unineuron_measure):
    """The largest activation of a neuron, after the activation function, stands out more than in any null."""
    unineuron_measure.needs("documents", unineuron_neurons.documents, at_least=64)
    crest = by_unit(lambda neurons: neurons.post.crest, unineuron_neurons)
    unineuron_measure("crest factor", crest, higher_by=SMALL)
