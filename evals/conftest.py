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
def labelled(unineuron_labelled):
    """The neurons as matched on the reference corpus, to label others by; one control permutes the labels."""
    return unineuron_labelled


@pytest.fixture
def published(unineuron_published):
    """Which neurons of the model the paper published as universal; one control permutes the labels."""
    return unineuron_published


@pytest.fixture
def claimed(universality):
    """The share of universal units that is claimed, and the most that a control may have.

    In models of 100 million parameters and more, above the paper's ϱ of 0.5; in smaller ones, above 0.4.
    """
    return {"above": 0.0025, "null": 0.0005} if universality.threshold >= 0.5 else {"above": 0.005, "null": 0.0025}


@pytest.fixture
def number_words(unineuron_number_words):
    """How the neurons answer to words for numbers, and to words like them."""
    return unineuron_number_words


@pytest.fixture
def weights(unineuron_weights):
    """What the weights alone say."""
    return unineuron_weights


@pytest.fixture
def verified(unineuron_verified):
    """The identities that held when a model was loaded: at how many layers, and the largest error of each."""
    return unineuron_verified
