"""The matching of units across seeds, compared with brute force in float64 and on models with a known answer."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_unineuron.activations.sweep import StatisticsConsumer
from pytest_unineuron.controls.shifted_documents import shifted_documents
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.lab.universality import Matched, Universality
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import PRE
from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.universality import match as matching
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, KINDS, NEURONS, VALUES
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost
from pytest_unineuron.universality.units import ComparedModel
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import build, tokenizer


def compared_model(model):
    loaded = LoadedModel(model, tokenizer(), "", None)
    return ComparedModel(WeightView(loaded, dissect(loaded)))


def match(subject, seeds, batches, *, own=None, bases=3, room=1e9, memory=8e9, also=()):
    seeds = [SeedActivations(seed, batches, n_bases=bases, room=room) for seed in seeds]
    return matching.match(subject, own or batches, seeds, also=also, resources=matching.Resources(memory=memory))


def least_memory(subject, seeds, batches):
    """The least memory for a comparison in bytes, with which it takes many blocks."""
    return comparison_cost(subject, batches, [SeedActivations(seed, batches, room=0) for seed in seeds]).least_bytes


@pytest.fixture(scope="module")
def blocks():
    """About six thousand tokens of many documents."""
    return to_blocks(find_corpus("news"), tokenizer(), context=64, budget=6000)


@pytest.fixture(scope="module")
def batches(blocks):
    """The batches that all models read."""
    return blocks.batches(1024)


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


def units(of, batches, kind, *, half=None):
    """All activations of one kind in float64, [token, unit]."""
    chosen = [batch for batch in batches if half is None or batch.group % 2 == half]
    return torch.cat([of.observe(batch)[kind] for batch in chosen]).double().numpy()


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


@pytest.mark.parametrize("kind", [NEURONS, DIMENSIONS, VALUES])
def test_matches_agree_with_brute_force(batches, kind):
    """Partners are chosen on the selection split, and ρ and its baseline are read on the held-out split."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
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


def test_seeds_can_be_left_out(batches):
    """The excess is the mean over seeds of the excess in each seed."""
    seeds = [compared_model(build("gpt2", seed=seed)) for seed in (3, 4)]
    found = Matched(match(compared_model(build("gpt2")), seeds, batches, bases=1)[NEURONS])
    alone = [found.in_seeds([number]).excess for number in (0, 1)]
    np.testing.assert_allclose(np.mean(alone, axis=0), found.excess, atol=1e-12)


def test_neurons_can_be_compared_before_the_activation_function(batches, blocks):
    """These are the pre-activations of a sweep, and their partners differ from those after the activation function."""
    one, two = (replace(compared_model(build("gpt2", seed=seed)), site=PRE) for seed in (0, 3))
    x, y = units(one, batches, NEURONS), units(two, batches, NEURONS)
    sweep_result = sweep_blocks(one.model, one.anatomy.layout, blocks, batch=1024)
    np.testing.assert_allclose(x.mean(0), sweep_result.total(PRE, "moments").mean.numpy(), atol=1e-6)
    found = Matched(match(one, [two], batches, bases=1)[NEURONS])
    chosen = rho(*(units(of, batches, NEURONS, half=0) for of in (one, two))).argmax(axis=1)
    reading = rho(*(units(of, batches, NEURONS, half=1) for of in (one, two)))
    np.testing.assert_allclose(found.correlation[0], reading[np.arange(x.shape[1]), chosen], atol=1e-5)
    after = Matched(match(compared_model(one.model), [compared_model(two.model)], batches, bases=1)[NEURONS])
    assert np.abs(after.correlation - found.correlation).max() > 0.05
    assert y.shape == x.shape


def test_the_papers_procedure_is_reproduced(batches):
    """Choice and correlation on the same tokens, with unstandardised bases: |Δϱ| < 1e-5."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
    found = Matched(match(one, [two], batches, bases=2)[NEURONS])
    x, y = units(one, batches, NEURONS, half=0), units(two, batches, NEURONS, half=0)
    baseline = rho(x, rotated(y, two.sizes(NEURONS), 0)).max(axis=1)
    np.testing.assert_allclose(found.paper, rho(x, y).max(axis=1) - baseline, atol=1e-5)


def test_a_model_matches_itself(batches):
    """ρ is one for every unit of every kind, and the partner of a neuron is in its own layer."""
    one = compared_model(build("gpt2"))
    found = match(one, [one], batches)
    assert set(found) == set(KINDS)
    for matches in found.values():
        np.testing.assert_allclose(Matched(matches).correlation, 1, atol=1e-6)
    neurons = Matched(found[NEURONS])
    np.testing.assert_array_equal(neurons.partner_layer[0], neurons.layer)


def test_a_permuted_copy_is_matched_neuron_by_neuron(batches):
    """P14: every partner is the permuted neuron, and ϱ is one minus the baseline."""
    model = build("gpt2")
    other, orders = permuted(model)
    (matches,) = match(compared_model(model), [compared_model(other)], batches)[NEURONS]
    found, size = Matched([matches]), len(orders[0])
    expected = torch.cat([order.argsort() + number * size for number, order in enumerate(orders)])
    np.testing.assert_array_equal(matches.choice.direct.partner.numpy(), expected.numpy())
    np.testing.assert_allclose(found.excess, 1 - found.baseline[0], atol=1e-6)


def test_a_hidden_rotation_has_no_excess(batches):
    """P15: if a random rotation hides the neurons of a model, its units match no better than those of another basis."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
    scale = units(two, batches, NEURONS).std(axis=0)
    width = two.sizes(NEURONS)[0]
    two.transform = lambda site, layer, values: (
        values
        / torch.as_tensor(scale[layer * width : (layer + 1) * width]).float()
        @ haar_rotation(width, 999 + layer).T
        if values.shape[1] == width
        else values
    )
    excess = Matched(match(one, [two], batches)[NEURONS]).excess
    assert abs(excess.mean()) < 0.02
    # Without the rotation the neurons have an excess, so the method would find it.
    assert Matched(match(one, [one], batches)[NEURONS]).excess.mean() > 0.3


def test_blocks_give_the_same_matches(batches):
    """A comparison in the least memory has the result of one without a limit."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
    few = least_memory(one, [two], batches)
    whole, in_blocks = (Matched(match(one, [two], batches, memory=memory)[NEURONS]) for memory in (8e9, few))
    np.testing.assert_array_equal(whole.partner_layer, in_blocks.partner_layer)
    np.testing.assert_allclose(whole.excess, in_blocks.excess, atol=1e-6)
    np.testing.assert_allclose(whole.paper, in_blocks.paper, atol=1e-6)


def test_recomputed_activations_give_the_same_matches(batches):
    """If there is no memory to keep activations, they are recomputed."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
    kept, recomputed = (match(one, [two], batches, room=room) for room in (1e9, 0))
    for kind in KINDS:
        np.testing.assert_array_equal(Matched(kept[kind]).excess, Matched(recomputed[kind]).excess)


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


def test_seeds_are_averaged(batches):
    """P18: the correlation with a seed does not depend on other seeds, and the excess is the mean over seeds."""
    one, two, three = (compared_model(build("gpt2", seed=seed)) for seed in (0, 3, 5))
    both = Matched(match(one, [two, three], batches)[NEURONS])
    alone = [Matched(match(one, [other], batches)[NEURONS]) for other in (two, three)]
    np.testing.assert_allclose(both.correlation, [each.correlation[0] for each in alone], atol=1e-6)
    np.testing.assert_allclose(both.excess, np.mean([each.excess for each in alone], axis=0), atol=1e-6)


@pytest.mark.parametrize("architecture", ["gpt_neox", "llama", "bert"])
def test_every_architecture_is_matched(batches, architecture):
    """P16: every kind of unit is found, and no excess is larger than one minus the baseline."""
    one, two = compared_model(build(architecture)), compared_model(build(architecture, seed=3))
    found = match(one, [two], batches)
    assert len(Matched(found[HEADS])) == 8
    for matches in found.values():
        of_kind = Matched(matches)
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
    found = Matched(match(compared_model(model), [compared_model(build("gpt_neox", seed=3))], batches)[NEURONS])
    assert found.constant == 1
    assert np.isnan(found.excess[5])
    assert not found.universal[5]
    assert not np.isnan(found.share(0.0))
    back = Matched(match(compared_model(build("gpt_neox", seed=3)), [compared_model(model)], batches)[NEURONS])
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
    found = Matched(match(one, [compared_model(build("gpt_neox", seed=3))], batches)[NEURONS])
    assert np.isnan(found.excess[7])
    assert found.constant == 1


def test_activations_that_are_not_finite_are_an_error(batches):
    """The message names the option to try."""
    model = build("gpt_neox")
    other = compared_model(model)
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_h_to_4h.bias[0] = float("inf")
    with pytest.raises(ModelError, match=r"activations of .* are not finite; try --unineuron-dtype float32"):
        match(compared_model(build("gpt_neox")), [other], batches)


def test_a_group_can_be_left_out(batches):
    """The partners stay, and correlations are those of the other groups of documents."""
    found = Matched(match(compared_model(build("gpt2")), [compared_model(build("gpt2", seed=3))], batches)[NEURONS])
    assert found.groups == 8
    assert found.without(0).tokens < found.tokens
    assert sum(found.among([g]).tokens for g in range(8)) == found.tokens
    assert not np.allclose(found.without(0).excess, found.excess)
    one, two = found.halves()
    assert one.tokens + two.tokens == found.tokens
    assert np.isnan(found.among([]).excess).all()
    assert np.isnan(found.among([]).share())


def test_kinds_are_left_out_by_the_same_groups(batches):
    """All kinds of units are read on the same documents. A kind that no model has is not applicable."""
    found = match(compared_model(build("gpt2")), [compared_model(build("gpt2", seed=3))], batches)
    universality = Universality(found, ["other"], tokens=1, documents=1)
    less = universality.without(2)
    assert (universality.groups, less.groups) == (8, 7)
    np.testing.assert_array_equal(less.neurons.excess, universality.neurons.without(2).excess)
    np.testing.assert_array_equal(less.dimensions.excess, universality.dimensions.without(2).excess)
    headless = Universality({NEURONS: found[NEURONS]}, ["other"], tokens=1, documents=1)
    with pytest.raises(NotApplicable, match="no heads were found in the model and all its seeds"):
        _ = headless.heads


def test_other_documents_have_hardly_any_excess(blocks, batches):
    """N4, P11: a model that reads other documents shares only the positions with itself."""
    one = compared_model(build("gpt_neox"))
    other = shifted_documents(blocks, tokenizer(), 0)
    shifted = Matched(match(one, [one], batches, own=other.batches(1024))[NEURONS])
    same = Matched(match(one, [one], blocks.batches(1024))[NEURONS])
    assert shifted.excess.mean() < 0.05 < same.excess.mean()


def test_shifted_documents_change_every_block(blocks):
    """Positions, lengths, document numbers and special tokens stay the same."""
    other = shifted_documents(blocks, tokenizer(), 3)
    texts = {}
    for block in blocks.blocks:
        texts.setdefault(block.document, []).extend(block.ids)
    for old, new in zip(blocks.blocks, other.blocks, strict=True):
        assert (new.document, new.text_mask, len(new.ids)) == (old.document, old.text_mask, len(old.ids))
        assert new.ids[0] == old.ids[0]
        assert new.ids != old.ids
        assert set(new.ids) <= set().union(*(texts[d] for d in texts if d != old.document))
    assert shifted_documents(blocks, tokenizer(), 4).blocks != other.blocks


def test_a_budget_of_tokens_is_kept(blocks, batches):
    """Every n-th token is compared, spread over all documents."""
    few = blocks.batches(1024, compare=1000)
    for compare in (1, 40, 1000, blocks.tokens - 1, blocks.tokens, 10**6):
        found = sum(batch.n_compared for batch in blocks.batches(1024, compare=compare))
        assert found == min(compare, blocks.tokens)
    assert {batch.group for batch in few if batch.n_compared} == {batch.group for batch in batches}
    assert sum(batch.n_compared for batch in batches) == sum(batch.tokens for batch in few) == blocks.tokens


def test_batches_without_compared_tokens_are_allowed(blocks):
    """With a small budget of tokens, some batches have none to compare."""
    few = blocks.batches(64, compare=40)
    assert min(batch.n_compared for batch in few) == 0
    one = compared_model(build("gpt2"))
    found = Matched(match(one, [one], few)[NEURONS])
    np.testing.assert_allclose(found.correlation[0][~np.isnan(found.correlation[0])], 1, atol=1e-6)


def test_a_sweep_in_the_same_pass_has_the_same_statistics(blocks):
    """Matching and gathering statistics in one pass gives the results of two passes."""
    one, two = compared_model(build("gpt2")), compared_model(build("gpt2", seed=3))
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


@pytest.mark.parametrize("exponent", [0, -80])
def test_the_units_of_heads_are_the_norms_of_what_they_write(batches, exponent):
    """‖W_O z‖ without its mean over the rows at a position, also where squares are not float32."""
    model = build("gpt2")
    attention = model.transformer.h[0].attn
    with torch.no_grad():
        attention.c_proj.weight.mul_(2.0**exponent)
        attention.c_proj.bias.zero_()  # beside which such weights would be nothing
    caught = []
    hook = attention.c_proj.register_forward_pre_hook(lambda module, arguments: caught.append(arguments[0]))
    batch = batches[0]
    with torch.no_grad():
        model(batch.ids, attention_mask=batch.attention_mask)
    hook.remove()
    by_head = caught[0].double().unflatten(-1, (4, 8))  # [row, position, head, value]
    weight = attention.c_proj.weight.detach().double().unflatten(0, (4, 8))  # [head, value, width]
    norms = torch.einsum("rphv,hvw->rphw", by_head, weight).norm(dim=-1)
    mask = batch.attention_mask.double()[..., None]
    expected = (norms - (norms * mask).sum(0) / mask.sum(0).clamp_min(1))[batch.comparison_mask.bool()]
    found = compared_model(model).observe(batch, [HEADS])[HEADS][:, :4].double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(norms.max()))
