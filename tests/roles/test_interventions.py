"""Interventions on neurons, against the same by hand in float64 (numbers are those of the methods' list of laws)."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.interventions import (
    ablation_effects,
    changed_units,
    mean_units,
    ordinary_tokens,
    set_units,
)
from pytest_unineuron.roles.mediation import entropy, frequency_mediation, scale_mediation, scales
from pytest_unineuron.roles.orientation import orientation
from pytest_unineuron.roles.token_frequency import log_frequency
from tests.models.tiny import build, in_memory, prepared
from tests.roles.views import batches, view_of

ARCHITECTURES = ["gpt2", "gpt_neox", "llama"]


def wide(architecture):
    loaded = in_memory(build(architecture).double())
    return WeightView(loaded, dissect(loaded))


def fixed(unit, value, mask=None):
    """A change that sets one unit to a value, everywhere or where ``mask`` [row, position] is set."""

    def change(units):
        here = torch.zeros_like(units, dtype=torch.bool)
        here[..., unit] = True if mask is None else mask
        return torch.where(here, torch.as_tensor(value, dtype=units.dtype), units)

    return change


def logits(view, batch, change=None):
    with changed_units(view, change or {}), torch.no_grad():
        return view.loaded.model(batch.ids, attention_mask=batch.attention_mask).logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_units_set_to_what_they_are_change_nothing(architecture):
    """P51; a different value changes the logits."""
    view, (batch, *_) = wide(architecture), batches()
    clean = logits(view, batch)
    assert torch.equal(logits(view, batch, {0: lambda units: units.clone()}), clean)
    changed = logits(view, batch, {0: fixed(3, 2.0)})
    assert not torch.allclose(changed, clean)
    assert torch.equal(logits(view, batch), clean)  # nothing is left behind


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_last_layer_neuron_moves_the_stream_by_what_it_writes(architecture):
    """P52: the change of the stream before the final norm is that of the unit times its write vector."""
    view, (batch, *_) = wide(architecture), batches()
    seen = []
    norm = view.loaded.model.get_submodule(view.anatomy.final_norm)
    hook = norm.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    logits(view, batch, {1: fixed(5, 0.0)})
    logits(view, batch, {1: fixed(5, 1.5)})
    hook.remove()
    moved = seen[1] - seen[0]
    if architecture != "llama":
        moved = moved - moved.mean(dim=-1, keepdim=True)  # write vectors are centred
    expected = (1.5 * view.layers[1].write[5]).expand_as(moved)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_effects_of_ablation_agree_with_the_same_by_hand(architecture):
    """The mean over text tokens, the rise of the loss and the divergence, of one neuron in each of two layers."""
    view, read = wide(architecture), batches()
    sets = torch.zeros(2, 96, dtype=torch.bool)
    sets[0, [2, 60]] = True
    found = ablation_effects(view, read, sets)
    means = mean_units(view, read, [batch.text_mask for batch in read])
    loss, kl, count = 0.0, 0.0, 0
    for batch in read:
        change = {layer: fixed(unit, means[layer][unit], batch.text_mask) for layer, unit in ((0, 2), (1, 12))}
        before, after = (logits(view, batch, each).log_softmax(-1) for each in ({}, change))
        for row, position in batch.text_mask.nonzero().tolist():
            if position + 1 < batch.ids.shape[1] and batch.text_mask[row, position + 1]:
                p, q, target = before[row, position], after[row, position], batch.ids[row, position + 1]
                loss, kl, count = loss + float(p[target] - q[target]), kl + float((p.exp() * (p - q)).sum()), count + 1
    assert int(found.tokens.sum()) == count > 20
    np.testing.assert_allclose(found.mean("loss"), [loss / count, 0], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.mean("kl"), [kl / count, 0], rtol=1e-5, atol=1e-12)
    assert found.groups == len(read) == found.without(0).groups + 1
    assert float(found.without(0).tokens.sum()) == count - float(found.tokens[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_effects_of_a_float32_model_are_those_of_its_logits(architecture):
    """A divergence is a small difference of large numbers: that of float32 logits is right to 1e-5."""
    view, (batch, *_) = view_of(architecture), batches()
    sets = torch.zeros(1, 96, dtype=torch.bool)
    sets[0, [2, 60]] = True
    means = mean_units(view, [batch], [batch.text_mask])
    change = {layer: fixed(unit, means[layer][unit], batch.text_mask) for layer, unit in ((0, 2), (1, 12))}
    text = torch.nn.functional.pad(batch.text_mask[:, 1:] & batch.text_mask[:, :-1], (0, 1))
    p, q = (logits(view, batch, each)[text].double().log_softmax(-1) for each in ({}, change))
    expected = (p.exp() * (p - q)).sum(dim=1).mean()
    assert ablation_effects(view, [batch], sets).mean("kl")[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("mapping", [*(("causal", each) for each in ARCHITECTURES), ("causal", "opt")])
@pytest.mark.parametrize("at_once", [1, 100])
def test_sets_that_share_a_pass_change_what_each_of_them_changes(mapping, at_once, monkeypatch):
    """Of a model that flattens the tokens of its rows before the neurons, too."""
    loaded, _ = prepared(*mapping)
    loaded = in_memory(copy.deepcopy(loaded.model).double())
    view, read = WeightView(loaded, dissect(loaded)), batches()
    neurons = view.anatomy.layout.per_token.n_neurons
    sets = torch.rand(5, neurons, generator=torch.Generator().manual_seed(1)) < 0.1
    sets[3] = False
    alone = [ablation_effects(view, read, each[None]) for each in sets]
    monkeypatch.setattr(
        "pytest_unineuron.roles.interventions.LOGITS_AT_ONCE",
        at_once * max(batch.ids.numel() for batch in read) * view.loaded.model.config.vocab_size,
    )
    together = ablation_effects(view, read, sets)
    for quantity in ("loss", "kl"):
        expected = [float(each.mean(quantity)[0]) for each in alone]
        np.testing.assert_allclose(together.mean(quantity), expected, rtol=1e-6, atol=1e-12)
    assert together.mean("kl")[3] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mediation_agrees_with_real_runs(architecture):
    """Both the total change of the entropy and that under the frozen scale of the final norm."""
    view, read, neuron = wide(architecture), batches(), 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_unineuron.roles.mediation.EVERY", 1)
        found = scale_mediation(view, read, torch.tensor([neuron, 3]))
    norm = view.norm(view.anatomy.final_norm, 32)
    module_path = view.loaded.model.get_submodule(view.anatomy.final_norm)
    rows = [torch.nn.functional.pad(b.text_mask[:, 1:] & b.text_mask[:, :-1], (0, 1)) for b in read]
    units, streams, normals = [], [], []

    def observe(module, args, output):
        streams.append(args[0])
        normals.append(norm.normal_form(output))

    observed = module_path.register_forward_hook(observe)
    before = []
    for batch, text in zip(read, rows, strict=True):
        before.append(entropy(logits(view, batch, {1: lambda u: units.append(u) or u})[text]))
    mean = torch.cat([u[text][:, neuron] for u, text in zip(units, rows, strict=True)]).mean()
    observed.remove()
    change = {1: fixed(neuron, mean)}
    total, direct, mediated = 0.0, 0.0, 0.0

    def frozen(number):
        def hook(m, args, output):
            clean, moved = streams[number], args[0]
            if norm.centres:
                clean, moved = clean - clean.mean(-1, keepdim=True), moved - moved.mean(-1, keepdim=True)
            scale = clean.norm(dim=-1, keepdim=True) / normals[number].norm(dim=-1, keepdim=True)
            return moved / scale * norm.gain + norm.shift

        return hook

    for number, (batch, text) in enumerate(zip(read, rows, strict=True)):
        whole = entropy(logits(view, batch, change)[text]) - before[number]
        handle = module_path.register_forward_hook(frozen(number))
        alone = entropy(logits(view, batch, change)[text]) - before[number]
        handle.remove()
        total, direct = total + float(whole.abs().sum()), direct + float(alone.abs().sum())
        mediated += float((whole - alone).abs().sum())
    count = float(found.tokens.sum())
    assert found.mean("total")[0] == pytest.approx(total / count, rel=1e-5)
    assert found.mean("direct")[0] == pytest.approx(direct / count, rel=1e-5)
    assert found.mean("mediated")[0] == pytest.approx(mediated / count, rel=1e-5)
    assert min(total, direct, mediated) > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mediation_by_token_frequency_agrees_with_real_runs(architecture):
    """Logits of a run without the neuron, whose component along log frequency is that of a run with it."""
    view, read, neuron = wide(architecture), batches(), 7
    counts = torch.arange(view.loaded.vocabulary) % 50
    unit = (counts.double() + 1).log()
    unit = (unit - unit.mean()) / (unit - unit.mean()).norm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_unineuron.roles.mediation.EVERY", 1)
        found = frequency_mediation(view, read, torch.tensor([neuron]), counts)
    texts = [torch.nn.functional.pad(b.text_mask[:, 1:] & b.text_mask[:, :-1], (0, 1)) for b in read]
    units, clean = [], []
    for batch, text in zip(read, texts, strict=True):
        clean.append(logits(view, batch, {1: lambda u: units.append(u) or u})[text])
    mean = torch.cat([u[text][:, neuron] for u, text in zip(units, texts, strict=True)]).mean()
    change, sums = {1: fixed(neuron, mean)}, dict.fromkeys(("total", "direct", "mediated"), 0.0)
    for before, batch, text in zip(clean, read, texts, strict=True):
        after = logits(view, batch, change)[text]
        closed = after - ((after - before) @ unit)[:, None] * unit
        total, direct = entropy(after) - entropy(before), entropy(closed) - entropy(before)
        for name, values in (("total", total), ("direct", direct), ("mediated", total - direct)):
            sums[name] += float(values.abs().sum())
    assert min(sums.values()) > 0
    for name, value in sums.items():
        assert found.mean(name)[0] == pytest.approx(value / float(found.tokens.sum()), rel=1e-5)


def test_mediation_by_token_frequency_leaves_padding_of_the_unembedding_alone():
    """Rows beyond the ids of the tokenizer have no part along log frequency; the total effect is the same."""
    loaded = in_memory(build("gpt_neox", vocab_size=320).double())
    view, neurons = WeightView(loaded, dissect(loaded)), torch.tensor([4])
    counts = torch.arange(loaded.vocabulary) % 50
    found, same = frequency_mediation(view, batches(), neurons, counts), scale_mediation(view, batches(), neurons)
    assert len(view.unembedding_weight.weight) == loaded.vocabulary + 20
    assert found.mean("total") == same.mean("total")
    assert found.mean("mediated")[0] > 0


def test_a_neuron_along_token_frequency_acts_along_it_alone():
    """Where the unembedding holds nothing but log frequency, freezing that leaves no effect."""
    view = wide("gpt2")
    counts = torch.arange(view.loaded.vocabulary) % 50
    with torch.no_grad():
        head = view.loaded.model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.outer(log_frequency(counts, len(head.weight)), torch.randn(32).double()))
    found = frequency_mediation(WeightView(view.loaded, view.anatomy), batches(), torch.tensor([4]), counts)
    assert float(found.mean("direct")[0]) < 1e-6 * float(found.mean("total")[0])


def test_a_neuron_in_the_null_space_acts_through_the_scale_alone():
    """P54: its direct effect is nothing, and its total effect is not."""
    view = wide("gpt_neox")
    with torch.no_grad():
        null = torch.linalg.eigh(view.unembedding.double().T @ view.unembedding.double()).eigenvectors
        head = view.loaded.model.get_output_embeddings().weight
        hidden = null[:, 1]  # the first one is the constant direction
        gain = view.norm(view.anatomy.final_norm, 32).gain
        head -= (head * gain) @ hidden[:, None] * hidden / gain
        view.loaded.model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight[:, 4] = 5 * hidden
    found = scale_mediation(WeightView(view.loaded, dissect(view.loaded)), batches(), torch.tensor([4]))
    assert float(found.mean("direct")[0]) < 1e-4 * float(found.mean("total")[0])


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 10))
def test_what_is_added_at_right_angles_lengthens_the_stream(seed, size):
    """P54: the square of the scale grows by the square of what is added, per feature."""
    generator = torch.Generator().manual_seed(seed)
    stream = torch.randn(5, 12, generator=generator).double()
    stream[:, 0] = 0
    written = torch.zeros(1, 12).double()
    written[0, 0] = 1
    normal = stream / (stream.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    scale, after = scales(stream, normal, torch.full((5, 1), size).double(), written)
    torch.testing.assert_close(after[:, 0] ** 2, scale**2 + size**2 / 12)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-50, 50))
def test_entropy(seed, scale, shift):
    """P53: between 0 and ln V, the same for shifted logits, and larger for logits divided by a larger scale."""
    z = torch.randn(3, 20, generator=torch.Generator().manual_seed(seed)).double()
    found = entropy(z)
    assert bool(((found >= 0) & (found <= np.log(20) + 1e-9)).all())
    torch.testing.assert_close(entropy(z + shift), found)
    assert bool((entropy(z / (1 + scale)) >= found - 1e-9).all())


def test_the_sign_of_gated_neurons_undoes_their_symmetry():
    """Reversing the up projection and the write vector of a neuron reverses its sign, and changes no logit."""
    loaded = in_memory(build("llama"))
    view, read = WeightView(loaded, dissect(loaded)), batches()
    before, clean = orientation(view, read), logits(view, read[0])
    with torch.no_grad():
        mlp = loaded.model.model.layers[1].mlp
        mlp.up_proj.weight[6] *= -1
        mlp.down_proj.weight[:, 6] *= -1
    view = WeightView(loaded, dissect(loaded))
    after = orientation(view, read)
    torch.testing.assert_close(logits(view, read[0]), clean)
    assert set(before.tolist()) == {-1.0, 1.0}
    assert (before != after).nonzero().flatten().tolist() == [48 + 6]
    assert set(orientation(view_of("gpt2"), read).tolist()) == {1.0}


@pytest.mark.parametrize(
    ("mapping", "model_type", "reason"),
    [
        ("causal", "mixtral", "are not the input of a module"),
        ("masked", "bert", "predicts no next token"),
        ("causal", "xlm", "reads the tokens that it predicts"),
    ],
)
def test_the_reason_is_given_where_nothing_can_be_changed(mapping, model_type, reason):
    view = WeightView(*prepared(mapping, model_type))
    with pytest.raises(NotApplicable, match=reason):
        ablation_effects(view, batches(), torch.ones(1, view.anatomy.layout.per_token.n_neurons, dtype=torch.bool))


def test_neurons_are_numbered_in_one_set_of_the_last_layer():
    """A shared expert beside others is a set of its own."""
    view = WeightView(*prepared("causal", "deepseek_v3"))
    with pytest.raises(NotApplicable, match="several sets of neurons"):
        scale_mediation(view, batches(), torch.tensor([3, 5]))


def test_special_tokens_and_sinks_keep_their_units():
    """BOS before a text, and a position at which the stream is very large."""
    view, read = view_of("gpt2"), batches(600)
    with torch.no_grad():
        view.loaded.model.transformer.wpe.weight[3] *= 1000
    masks = ordinary_tokens(view, read)
    for batch, mask in zip(read, masks, strict=True):
        assert not mask[:, 3].any()
        assert torch.equal(mask[:, 4:], batch.text_mask[:, 4:])
    seen = []
    change = set_units(torch.arange(48)[None] == 5, torch.full((48,), 2.5), masks[0])
    with changed_units(view, {0: lambda units: seen.append((units, change(units))) or units}), torch.no_grad():
        view.loaded.model(read[0].ids, attention_mask=read[0].attention_mask)
    ((before, after),) = seen
    assert bool((after[..., 5][masks[0]] == 2.5).all())
    assert torch.equal(after[~masks[0]], before[~masks[0]])
