"""Models on one GPU or on two: tensors of different devices never meet, and results are those of the CPU."""

import numpy as np
import pytest
import torch

from pytest_unineuron.controls.rotation import Rotation
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.lab.universality import Matched
from pytest_unineuron.models.discovery import verification
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import DEFAULT_SITES, EXTREMES, POST, PRE, RESIDUAL, UP, statistics_for
from pytest_unineuron.universality.cost import ComparisonCost
from pytest_unineuron.universality.match import Resources, match
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost
from pytest_unineuron.universality.units import ComparedModel
from tests.activations.sweeping import sweep_blocks
from tests.devices import move_to, simulated_gpus, spread_over
from tests.models.tiny import build, tokenizer

ONE, TWO = ("cuda:0",), ("cuda:0", "cuda:1")


def compared_model(architecture, seed):
    model = build(architecture, seed=seed).requires_grad_(False)
    loaded = LoadedModel(model, tokenizer(), "", None)
    return ComparedModel(WeightView(loaded, dissect(loaded)))


EVERYTHING = statistics_for([*DEFAULT_SITES, UP, EXTREMES])


def place(model, devices):
    return move_to(model, devices[0]) if len(devices) == 1 else spread_over(model, devices)


def text():
    return to_blocks(find_corpus("news"), tokenizer(), context=64, budget=500)


@pytest.mark.parametrize(("architecture", "devices"), [("gpt2", ONE), ("llama", TWO)], ids=["one", "two"])
def test_a_sweep_on_gpus_has_the_results_of_the_cpu(architecture, devices, monkeypatch):
    """This holds for every statistic at every site, and for the largest values with their tokens."""
    subject = compared_model(architecture, 0)
    layout = subject.anatomy.layout.per_token
    expected = sweep_blocks(subject.model, layout, text(), batch=256, statistics=EVERYTHING)
    place(subject.model, devices)
    with simulated_gpus(monkeypatch):
        found = sweep_blocks(subject.model, layout, text(), batch=256, statistics=EVERYTHING)
    assert expected.sums[0].keys() == found.sums[0].keys()
    for site, name in expected.sums[0]:
        one, two = found.total(site, name), expected.total(site, name)
        for field in vars(two):
            a, b = getattr(one, field), getattr(two, field)
            assert a.device.type == "cpu"
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, equal_nan=True)


def assert_same(found, expected):
    """Check that partners are equal, and correlations up to rounding."""
    for kind, (two,) in expected.items():
        (one,) = found[kind]
        for a, b in zip((*one.choice.all, *one.pairs), (*two.choice.all, *two.pairs), strict=True):
            torch.testing.assert_close(a.correlation.cpu(), b.correlation, atol=1e-5, rtol=1e-4, equal_nan=True)
        for a, b in zip(one.choice.all, two.choice.all, strict=True):
            assert torch.equal(a.partner.cpu(), b.partner)
        np.testing.assert_allclose(Matched([one]).excess, Matched([two]).excess, atol=1e-5)


@pytest.mark.parametrize(("in_one_block", "devices"), [(True, ONE), (False, TWO)], ids=["one", "two"])
def test_a_comparison_on_gpus_has_the_results_of_the_cpu(in_one_block, devices, monkeypatch):
    """This holds for all kinds of units, with products in one block or in several."""
    # The products of tiny models are small in comparison with the memory for batches.
    for name in ("working_bytes", "held_out_bytes", "drawing_bytes"):
        monkeypatch.setattr(ComparisonCost, name, 0)
    subject, seed = compared_model("gpt2", 0), compared_model("gpt2", 3)
    batches = tuple(text().batches(256))

    def compare():
        seeds = [SeedActivations(seed, batches, room=0)]
        cost = comparison_cost(subject, batches, seeds)
        memory = 8e9 if in_one_block else cost.least_bytes + cost.product_bytes // 4
        return match(subject, batches, seeds, resources=Resources(memory=memory))

    expected = compare()
    for one in (subject, seed):
        place(one.model, devices)
        one.encodings.clear()
    with simulated_gpus(monkeypatch):
        found = compare()
        assert_same(found, expected)


def test_units_are_rotated_on_their_gpu(monkeypatch):
    """The control that rotates activations does so on the device of each layer."""
    subject = compared_model("gpt2", 0)
    layout = subject.anatomy.layout
    plain = sweep_blocks(subject.model, layout, text(), batch=256)
    moments = {site: plain.total(site, "moments") for site in DEFAULT_SITES}
    sizes = [layer.width for layer in layout.layers]

    def rotated():
        change = Rotation(moments, {PRE: sizes, POST: sizes, RESIDUAL: [subject.anatomy.middle_width]}, seed=1)
        return sweep_blocks(subject.model, layout, text(), batch=256, transform=change).total(POST, "moments").kurtosis

    expected = rotated()
    place(subject.model, TWO)
    with simulated_gpus(monkeypatch):
        found = rotated()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4, equal_nan=True)


def test_models_are_verified_on_gpus(monkeypatch):
    """The identities that are checked when a model is loaded hold on GPUs."""
    subject = compared_model("llama", 0)
    ids = probe_ids(LoadedModel(subject.model, tokenizer(), "", None), rows=2)
    expected = verification.verify(subject.model, subject.anatomy.layout, ids).facts()
    place(subject.model, TWO)
    with simulated_gpus(monkeypatch):
        found = verification.verify(subject.model, subject.anatomy.layout, ids).facts()
    assert found.keys() == expected.keys()
