"""Short names for the plugin's fixtures, so that a trial reads like a lab note."""

import pytest


@pytest.fixture
def measure(unineuron_measure):
    """Record a number, with its bound: ``measure("share", value, above=0.01)``."""
    return unineuron_measure


@pytest.fixture
def neurons(unineuron_neurons):
    """Every MLP neuron on the trial's corpus: new data for GT2, the reference corpus otherwise."""
    return unineuron_neurons


@pytest.fixture
def reference_neurons(unineuron_reference_neurons):
    """The same neurons on the reference corpus."""
    return unineuron_reference_neurons


@pytest.fixture
def universality(unineuron_universality):
    """The model compared with further seeds of itself, on the trial's corpus: neurons, heads, dimensions."""
    return unineuron_universality


@pytest.fixture
def reference_universality(unineuron_reference_universality):
    """The same comparison on the reference corpus."""
    return unineuron_reference_universality


@pytest.fixture
def number_words(unineuron_number_words):
    """How the neurons answer to words for numbers, and to words like them."""
    return unineuron_number_words


@pytest.fixture
def weights(unineuron_weights):
    """What the weights alone say."""
    return unineuron_weights
