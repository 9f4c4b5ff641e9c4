"""Short names for the plugin's fixtures, for use in the trials of this folder, and the fixtures that these share."""

import pytest

from .claims import *  # noqa: F403 - fixtures
from .public_neurons import *  # noqa: F403


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
def published_table(unineuron_published_table):
    """The columns of the paper's table for every neuron of the model: ``published_table["skew"]``; NaN if not in it."""
    return unineuron_published_table


@pytest.fixture
def number_words(unineuron_number_words):
    """The response of every neuron to words for numbers, and to similar words that are not numbers."""
    return unineuron_number_words


@pytest.fixture
def public_texts(unineuron_public_texts):
    """Every MLP neuron on texts like those of the public evaluations, set by set: ``public_texts["news 1"]``."""
    return unineuron_public_texts


@pytest.fixture
def weights(unineuron_weights):
    """The weights of the model, per neuron and per head."""
    return unineuron_weights


@pytest.fixture
def runs(unineuron_runs):
    """Runs of the model over a small part of the trial's corpus, for instruments that intervene."""
    return unineuron_runs


@pytest.fixture
def reference_runs(unineuron_reference_runs):
    """Runs of the model over a small part of the reference corpus."""
    return unineuron_reference_runs


@pytest.fixture
def attention(unineuron_attention):
    """What every attention head attends to on a part of the trial's corpus: means over query tokens, by head."""
    return unineuron_attention


@pytest.fixture
def public_attention(unineuron_public_attention):
    """The same on texts like those of the public evaluations, text by text: ``public_attention("style")``."""
    return unineuron_public_attention


@pytest.fixture
def patterns(unineuron_patterns):
    """The attention of every head beside that of the heads of the same layer in another seed."""
    return unineuron_patterns


@pytest.fixture
def public_patterns(unineuron_public_patterns):
    """The same on one text like those of the public evaluations: ``public_patterns("style 3")``."""
    return unineuron_public_patterns


@pytest.fixture
def head_sizes(weights):
    """‖W_Q‖ ‖W_K‖ of each head, with norms folded in, [head]."""
    from pytest_unineuron.roles.head_circuits import folded_query_key_norms

    return weights.role(folded_query_key_norms).prod(axis=1)


@pytest.fixture
def token_counts(unineuron_token_counts):
    """How often each token of the vocabulary is in the trial's corpus."""
    return unineuron_token_counts


@pytest.fixture
def verified(unineuron_verified):
    """The identities verified when a model was loaded: at how many layers, and the largest error of each."""
    return unineuron_verified
