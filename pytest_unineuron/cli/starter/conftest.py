"""Short names for the plugin's fixtures, for use in the trials of this folder."""

import pytest


@pytest.fixture
def measure(unineuron_measure):
    """Record a number, with its claim: ``measure("share", value, above=0.01)``."""
    return unineuron_measure


@pytest.fixture
def neurons(unineuron_neurons):
    """Every MLP neuron on the trial's corpus: new data for GT2, the reference corpus otherwise."""
    return unineuron_neurons


@pytest.fixture
def weights(unineuron_weights):
    """The weights of the model, per neuron and per head."""
    return unineuron_weights
