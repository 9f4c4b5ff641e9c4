"""The matching of units across seeds, compared with brute force in float64 and on models with a known answer."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_unineuron.activations.sweep import StatisticsConsumer
from pytest_unineuron.controls.shifted_documents import shifted_documents
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.universality import Matched, Universality
from pytest_unineuron.statistics import POST, PRE
from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.universality import match as matching
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, KINDS, NEURONS, VALUES
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import build, tokenizer
from tests.universality.comparing import compared_model, shared_model, units


def match(subject, seeds, batches, *, own=None, bases=0, memory=8e9, also=()):
    seeds = [SeedActivations(seed, batches, n_bases=bases) for seed in seeds]
    return matching.match(subject, own or batches, seeds, also=also, resources=matching.Resources(memory=memory))


@pytest.fixture(scope="module")
def matches(batches):
    """A GPT-2 matched in one seed, by kind."""
    return match(shared_model(), [shared_model(seed=3)], batches)


@pytest.fixture(scope="module")
def own_matches(batches):
    """A GPT-2 matched in itself, by kind."""
    return match(shared_model(), [shared_model()], batches)


def least_memory(subject, seeds, batches):
    """The least memory for a comparison in bytes, with which it takes many blocks."""
    return comparison_cost(subject, batches, [SeedActivations(seed, batches, room=0) for seed in seeds]).least_bytes


def permuted(model, seed=0):
    """A copy of a GPT-2 whose neurons are permuted within every layer, and the permutations."""
    copied, orders = copy.deepcopy(model), []
    for number, block in enumerate(copied.transformer.h):
        order = torch.randperm(block.mlp.c_fc.weight.shape[1], generator=torch.Generator().manual_seed(seed + number))
        with torch.no_grad():
            block.mlp.c_fc.weight.copy_(block.mlp.c_fc.weight[:, order].clone())
            block.mlp.c_fc.bias.copy_(block.mlp.c_fc.bias[order].clone())
            block.mlp.c_proj.weight.copy_(block.mlp.c_proj.weight[order].clone())
        orders.append(order)
    return copied, orders


def rho(x, y):
    """Pearson's ρ of every pair of columns."""
    with np.errstate(all="ignore"):
        return ((x - x.mean(0)) / x.std(0)).T @ ((y - y.mean(0)) / y.std(0)) / len(x)


def rotated(y, sizes, draw, deviation=None):
    """The units of each layer in one of the random bases of the package."""
    layers = np.split(y, np.cumsum(sizes)[:-1], axis=1)
    scales = np.split(np.ones(y.shape[1]) if deviation is None else deviation, np.cumsum(sizes)[:-1])
    bases = [haar_rotation(size, draw).double().numpy() for size in sizes]
    rotated = [layer / scale @ basis.T for layer, scale, basis in zip(layers, scales, bases, strict=True)]
    return np.concatenate(rotated, axis=1)


@pytest.mark.parametrize(("kind", "site"), [(NEURONS, POST), (NEURONS, PRE), (DIMENSIONS, POST), (VALUES, POST)])
def test_matches_agree_with_brute_force(batches, kind, site):
    """Partners are chosen on the selection split, and ρ and its baseline are read on the held-out split."""
    one, two = (replace(shared_model(seed=seed), site=site) for seed in (0, 3))
    found = Matched(match(one, [two], batches, bases=2)[kind])
    x0, x1 = (units(one, batches, kind, half=half) for half in (0, 1))
    y0, y1 = (units(two, batches, kind, half=half) for half in (0, 1))
    sizes, rows = two.sizes(kind), np.arange(x0.shape[1])

    def read(chosen, reading):
        score = np.abs(chosen) if kind != NEURONS else chosen
        partner = score.argmax(axis=1)
        return reading[rows, partner] * np.sign(chosen[rows, partner] if kind != NEURONS else 1)

    np.testing.assert_allclose(found.correlation[0], read(rho(x0, y0), rho(x1, y1)), atol=1e-5)
    baseline = [
        read(rho(x0, rotated(y0, sizes, draw, y0.std(0))), rho(x1, rotated(y1, sizes, draw, y0.std(0))))
        for draw in range(2)
    ]
    np.testing.assert_allclose(found.baseline[0], np.mean(baseline, axis=0), atol=1e-5)


def test_the_papers_procedure_is_reproduced(batches):
    """Choice and correlation on the same tokens, with unstandardised bases: |Δϱ| < 1e-5."""
    one, two = shared_model(), shared_model(seed=3)
    found = Matched(match(one, [two], batches, bases=2)[NEURONS])
    x, y = units(one, batches, NEURONS, half=0), units(two, batches, NEURONS, half=0)
    baseline = rho(x, rotated(y, two.sizes(NEURONS), 0)).max(axis=1)
    np.testing.assert_allclose(found.paper, rho(x, y).max(axis=1) - baseline, atol=1e-5)


def test_a_model_matches_itself(own_matches):
    """ρ is one for every unit of every kind, and the partner of a neuron is in its own layer."""
    assert set(own_matches) == set(KINDS)
    for of_kind in own_matches.values():
        np.testing.assert_allclose(Matched(of_kind).correlation, 1, atol=1e-6)
    neurons = Matched(own_matches[NEURONS])
    np.testing.assert_array_equal(neurons.partner_layer[0], neurons.layer)


def test_a_permuted_copy_is_matched_neuron_by_neuron(batches):
    """P14: every partner is the permuted neuron, and ϱ is one minus the baseline."""
    other, orders = permuted(build("gpt2"))
    (in_seed,) = match(shared_model(), [compared_model(other)], batches)[NEURONS]
    found, size = Matched([in_seed]), len(orders[0])
    expected = torch.cat([order.argsort() + number * size for number, order in enumerate(orders)])
    np.testing.assert_array_equal(in_seed.choice.direct.partner.numpy(), expected.numpy())
    np.testing.assert_allclose(found.excess, 1 - found.baseline[0], atol=1e-6)


def test_a_hidden_rotation_has_no_excess(batches, own_matches):
    """P15: if a random rotation hides the neurons of a model, its units match no better than those of another basis."""
    one, two = shared_model(), shared_model(seed=3)
    scale = units(two, batches, NEURONS).std(axis=0)
    width = two.sizes(NEURONS)[0]

    def rotate(site, layer, values):
        if values.shape[1] != width:
            return values
        return values / torch.as_tensor(scale[layer * width :][:width]).float() @ haar_rotation(width, 999 + layer).T

    excess = Matched(match(one, [replace(two, transform=rotate)], batches)[NEURONS]).excess
    assert abs(excess.mean()) < 0.02
    # Without the rotation the neurons have an excess, so the method would find it.
    assert Matched(own_matches[NEURONS]).excess.mean() > 0.3


def test_a_text_is_read_once_by_every_model(batches):
    """A subject and k seeds take k + 1 passes. For another subject, the seeds take none."""
    seen = []
    models = [build("gpt2", seed=seed) for seed in range(3)]
    members = [compared_model(model) for model in models]
    for number, model in enumerate(models):
        model.transformer.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    seeds = [SeedActivations(other, batches) for other in members[1:]]
    matching.match(members[0], batches, seeds)
    assert sorted(seen) == sorted([0, 1, 2] * len(batches))
    matching.match(members[0], batches, seeds)  # the seeds keep their activations
    assert sorted(seen) == sorted([0, 0, 1, 2] * len(batches))


def test_seeds_are_averaged_and_can_be_left_out(batches):
    """P18: the correlation with a seed does not depend on other seeds, and the excess is the mean over seeds."""
    one, two, three = (shared_model(seed=seed) for seed in (0, 3, 5))
    both = Matched(match(one, [two, three], batches)[NEURONS])
    alone = [Matched(match(one, [other], batches)[NEURONS]) for other in (two, three)]
    np.testing.assert_allclose(both.correlation, [each.correlation[0] for each in alone], atol=1e-6)
    np.testing.assert_allclose(both.excess, np.mean([each.excess for each in alone], axis=0), atol=1e-6)
    kept = [both.in_seeds([number]).excess for number in (0, 1)]
    np.testing.assert_allclose(np.mean(kept, axis=0), both.excess, atol=1e-12)


@pytest.mark.parametrize("architecture", ["gpt_neox", "llama", "bert"])
def test_every_architecture_is_matched(batches, architecture):
    """P16: every kind of unit is found, and no excess is larger than one minus the baseline."""
    one, two = shared_model(architecture), shared_model(architecture, seed=3)
    found = match(one, [two], batches)
    assert len(Matched(found[HEADS])) == 8
    for in_seeds in found.values():
        of_kind = Matched(in_seeds)
        known = ~np.isnan(of_kind.excess)
        assert known.any()
        assert (np.abs(of_kind.correlation[0, known]) <= 1 + 1e-9).all()
        assert (of_kind.excess[known] <= 1 - of_kind.baseline[0, known] + 1e-9).all()


def test_a_dead_neuron_is_undefined_and_counted(batches):
    """P7: it has no ϱ and is no partner, and shares are those of the other neurons."""
    model = build("gpt_neox")
    with torch.no_grad():
        mlp = model.gpt_neox.layers[0].mlp
        mlp.dense_h_to_4h.weight[5] = 0
    found = Matched(match(compared_model(model), [shared_model("gpt_neox", seed=3)], batches)[NEURONS])
    assert found.constant == 1
    assert np.isnan(found.excess[5])
    assert not found.universal[5]
    assert not np.isnan(found.share(0.0))
    back = Matched(match(shared_model("gpt_neox", seed=3), [compared_model(model)], batches)[NEURONS])
    assert back.constant == 0


def test_a_neuron_that_is_constant_on_the_selection_split_has_no_match(batches):
    """P7: without a partner it has no ϱ, although it varies on the held-out split."""
    model = build("gpt_neox")
    one = compared_model(model)
    real = one.observe

    def observe(batch, kinds=KINDS, also=()):
        found = real(batch, kinds, also)
        if batch.group % 2 == 0:
            found[NEURONS][:, 7] = 0
        return found

    one.observe = observe
    found = Matched(match(one, [shared_model("gpt_neox", seed=3)], batches)[NEURONS])
    assert np.isnan(found.excess[7])
    assert found.constant == 1


def test_a_group_can_be_left_out(matches):
    """The partners stay, and correlations are those of the other groups of documents."""
    found = Matched(matches[NEURONS])
    assert found.groups == 8
    assert found.without(0).tokens < found.tokens
    assert sum(found.among([g]).tokens for g in range(8)) == found.tokens
    assert not np.allclose(found.without(0).excess, found.excess)
    one, two = found.halves()
    assert one.tokens + two.tokens == found.tokens
    assert np.isnan(found.among([]).excess).all()
    assert np.isnan(found.among([]).share())


def test_kinds_are_left_out_by_the_same_groups(matches):
    """All kinds of units are read on the same documents. A kind that no model has is not applicable."""
    universality = Universality(matches, ["other"], tokens=1, documents=1)
    less = universality.without(2)
    assert (universality.groups, less.groups) == (8, 7)
    np.testing.assert_array_equal(less.neurons.excess, universality.neurons.without(2).excess)
    np.testing.assert_array_equal(less.dimensions.excess, universality.dimensions.without(2).excess)
    headless = Universality({NEURONS: matches[NEURONS]}, ["other"], tokens=1, documents=1)
    with pytest.raises(NotApplicable, match="no heads were found in the model and all its seeds"):
        _ = headless.heads


def test_other_documents_have_hardly_any_excess(blocks, batches):
    """N4, P11: a model that reads other documents shares only the positions with itself."""
    one = shared_model("gpt_neox")
    other = shifted_documents(blocks, tokenizer(), 0)
    shifted = Matched(match(one, [one], batches, own=other.batches(1024))[NEURONS])
    same = Matched(match(one, [one], blocks.batches(1024))[NEURONS])
    assert shifted.excess.mean() < 0.05 < same.excess.mean()


def test_batches_without_compared_tokens_are_allowed(blocks):
    """With a small budget of tokens, some batches have none to compare."""
    few = blocks.batches(64, compare=40)
    assert min(batch.n_compared for batch in few) == 0
    one = shared_model()
    found = Matched(match(one, [one], few)[NEURONS])
    np.testing.assert_allclose(found.correlation[0][~np.isnan(found.correlation[0])], 1, atol=1e-6)


def test_a_sweep_in_the_same_pass_has_the_same_statistics(blocks):
    """Matching and gathering statistics in one pass gives the results of two passes."""
    one, two = shared_model(), shared_model(seed=3)
    few = blocks.batches(1024, compare=2000)
    consumer = StatisticsConsumer(blocks, "cpu")
    found = match(one, [two], few, memory=least_memory(one, [two], few), also=[consumer])
    alone = sweep_blocks(one.model, one.anatomy.layout, blocks, batch=1024)
    together = consumer.result()
    assert together.tokens == alone.tokens
    for ours, theirs in zip(together.sums, alone.sums, strict=True):
        assert ours.keys() == theirs.keys()
        for key, statistic in ours.items():
            for name in vars(statistic):
                assert torch.equal(getattr(statistic, name), getattr(theirs[key], name)), (key, name)
    excess = Matched(match(one, [two], few)[NEURONS]).excess
    np.testing.assert_allclose(Matched(found[NEURONS]).excess, excess, atol=1e-6)
