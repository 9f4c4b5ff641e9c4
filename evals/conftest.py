"""Short names for the plugin's fixtures, for use in the trials of this folder."""

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
    """Every MLP neuron on the reference corpus."""
    return unineuron_reference_neurons


@pytest.fixture
def universality(unineuron_universality):
    """The model compared with its further seeds on the trial's corpus: neurons, heads, residual dimensions."""
    return unineuron_universality


@pytest.fixture
def reference_universality(unineuron_reference_universality):
    """The comparison with further seeds on the reference corpus."""
    return unineuron_reference_universality


@pytest.fixture
def labelled(unineuron_labelled):
    """The neurons compared on the reference corpus, which say which are universal; one control permutes them."""
    return unineuron_labelled


@pytest.fixture
def published(unineuron_published):
    """Which neurons of the model the paper published as universal; one control permutes them within layers."""
    return unineuron_published


@pytest.fixture
def claimed(universality):
    """The share of universal units that is claimed, of all units and beyond that of every control.

    In models of 100 million parameters and more, above the paper's ϱ of 0.5; in smaller ones, above 0.4.
    """
    least = 0.0025 if universality.threshold >= 0.5 else 0.005
    return {"above": least, "higher_by": least}


@pytest.fixture
def more():
    """A small effect of selected neurons against the rest of their layer, and of the model against every control."""
    from pytest_unineuron import SMALL

    return {"above": SMALL, "higher_by": SMALL - 0.5}


@pytest.fixture
def less():
    """The same in the other direction."""
    from pytest_unineuron import SMALL

    return {"below": 1 - SMALL, "lower_by": SMALL - 0.5}


@pytest.fixture
def number_words(unineuron_number_words):
    """The response of every neuron to words for numbers, and to similar words that are not numbers."""
    return unineuron_number_words


@pytest.fixture
def weights(unineuron_weights):
    """The weights of the model, per neuron and per head."""
    return unineuron_weights


@pytest.fixture
def runs(unineuron_runs):
    """Runs of the model over a small part of the trial's corpus, for instruments that intervene."""
    return unineuron_runs


@pytest.fixture
def token_counts(unineuron_token_counts):
    """How often each token of the vocabulary is in the trial's corpus."""
    return unineuron_token_counts


@pytest.fixture
def verified(unineuron_verified):
    """The identities verified when a model was loaded: at how many layers, and the largest error of each."""
    return unineuron_verified
