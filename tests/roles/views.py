"""Weights of tiny models that the tests of roles share."""

import torch

from pytest_unineuron import corpora
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import build, in_memory, tokenizer


def normal(*shape, seed):
    """Independent Normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def view_of(architecture, **choices):
    """The weights of a tiny random model."""
    loaded = in_memory(build(architecture, **choices))
    return WeightView(loaded, dissect(loaded))


def writes(view):
    """The write vectors of all neurons, [neuron, width] float64, as an array."""
    return torch.cat([layer.write for layer in view.layers]).double().numpy()


def batches(budget=90):
    """A few short batches of text with BOS before it, each of a document group of its own."""
    corpus = from_path("prose", corpora.BUNDLED / "prose.jsonl")
    blocks = to_blocks(corpus, tokenizer(), context=24, budget=budget)
    return blocks.batches(24)
