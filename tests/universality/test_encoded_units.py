"""Kinds of units that are encoded from a site: they are what brute force computes, and named where they cannot be."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_unineuron.activations.sweep import StatisticsConsumer, sweep
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import POST, RESIDUAL, statistics_for
from pytest_unineuron.universality.kinds import DIMENSIONS, KINDS, NEURONS, VALUES, UnitKind
from pytest_unineuron.universality.units import ComparedModel
from tests.models.tiny import build, tokenizer

MADE = "made"


class Some(nn.Module):
    """Twice the first units."""

    def __init__(self, units=3, factor=2.0):
        super().__init__()
        self.units = units
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, values):
        return values[:, : self.units] * self.factor


@pytest.fixture
def declare():
    """A function that adds a kind of units for one test."""

    def add(encoders, site):
        KINDS.add(MADE, UnitKind(site, encoders, signed=True), Path("made.py"))

    yield add
    KINDS.remove(MADE)


@pytest.fixture(scope="module")
def view():
    loaded = LoadedModel(build("gpt2"), tokenizer(), "", None)
    return WeightView(loaded, dissect(loaded))


@pytest.fixture(scope="module")
def blocks():
    return to_blocks(find_corpus("news"), tokenizer(), context=32, budget=300)


@pytest.mark.parametrize(
    ("site", "kind", "made", "layers"),
    [
        (RESIDUAL, DIMENSIONS, [Some()], [0]),
        ("attention", VALUES, [Some(), Some(5)], [0, 1]),
        (POST, NEURONS, [None, Some()], [1]),
    ],
)
def test_units_are_encoded_layer_by_layer(declare, view, blocks, site, kind, made, layers):
    """From the residual stream, the values of heads or neurons; a layer without an encoder has no such units."""
    declare(lambda _: made, site)
    model, (batch, *_) = ComparedModel(view), blocks.batches(512)
    found = model.observe(batch)
    widths = model.sizes(kind)
    starts = [sum(widths[:layer]) for layer in layers]
    encoders = [encoder for encoder in made if encoder]
    expected = [2 * found[kind][:, s : s + encoder.units] for s, encoder in zip(starts, encoders, strict=True)]
    torch.testing.assert_close(found[MADE], torch.cat(expected, dim=1))
    assert model.sizes(MADE) == [encoder.units for encoder in encoders]
    assert sorted(set(model.layers(MADE))) == layers
    assert not model.arbitrary_sign(MADE)


def test_a_sweep_has_their_statistics(declare, view, blocks):
    """They are those of the units of the site that were encoded."""
    declare(lambda _: [Some()], RESIDUAL)
    model, sites = ComparedModel(view), (RESIDUAL, MADE)
    consumer = StatisticsConsumer(blocks, "cpu", statistics=statistics_for(sites))
    layout, encodings = view.anatomy.layout, model.encodings_at(sites)
    (found,) = sweep(model.model, layout, blocks.batches(512), [consumer], encodings=encodings)
    plain, made = (found.total(site, "moments").mean for site in sites)
    torch.testing.assert_close(made, 2 * plain[:3])
    assert found.total(MADE, "firing").density.shape == (3,)


def test_the_values_of_encoders_are_in_their_digest(declare, view):
    """Another dictionary is another kind of units, whatever its name."""
    made = []
    declare(lambda _: made, RESIDUAL)
    digests = []
    for factor in (2.0, 2.0, 3.0):
        made[:] = [Some(factor=factor)]
        digests.append(ComparedModel(view).encoding(MADE).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([Some()], "units 'made': 1 encoders, for the 2 layers of the post site; return a torch module for each layer"),
        ([None, torch.relu], "units 'made': 2 encoders, of them a builtin_function_or_method, for the 2 layers"),
    ],
)
def test_encoders_that_do_not_fit(declare, view, made, message):
    """The message says what was found and what to return."""
    declare(lambda _: made, POST)
    with pytest.raises(ModelError, match=message):
        ComparedModel(view).sizes(MADE)
