"""The direction in which a query attends to BOS, from weights, and neurons that write along it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pytest_unineuron.corpora.encode import special_tokens
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.bos_attention import bos_alignment, bos_query_directions
from tests.models.tiny import build, in_memory, prepared
from tests.roles.views import view_of, writes


def test_directions_are_those_of_the_weights():
    """Without rotary positions they are Ŵ_Qᵀ k_BOS, where k_BOS is the key of a lone BOS token, with its bias."""
    view = view_of("gpt2")
    model, width = view.loaded.model, 32
    keys = []
    hooks = [
        block.attn.c_attn.register_forward_hook(lambda m, a, out: keys.append(out[0, 0, width : 2 * width]))
        for block in model.transformer.h
    ]
    with torch.no_grad():
        model(torch.tensor([special_tokens(view.loaded.tokenizer)[0]]))
    for hook in hooks:
        hook.remove()
    expected = [
        normalize(head.folded()[0].double().T @ keys[head.layer].view(4, 8)[head.index].double(), dim=0)
        for head in Weights(view).heads
    ]
    layers, directions = bos_query_directions(view)
    assert layers.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(directions, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_a_push_along_the_direction_raises_the_attention_to_bos(architecture):
    """P46, also for rotary positions: a push of the stream against it, before attention in layer 1, lowers it."""
    view = view_of(architecture)
    model = view.loaded.model
    model.set_attn_implementation("eager")
    layers, directions = bos_query_directions(view)
    head, index = int((layers > 0).nonzero()[0]), 0
    (norm,) = {part.query.input_norm.norm for part in view.anatomy.heads if part.layer == 1}
    ids = torch.tensor([[*special_tokens(view.loaded.tokenizer)[0], *range(20, 30)]])

    def attention(push):
        def add(module, args, output):
            moved = output.clone()
            moved[:, 5] += push * gained
            return moved

        gained = directions[head].float() / (view.norm(norm, 32).gain + 1e-6)
        hook = model.get_submodule(norm).register_forward_hook(add)
        with torch.no_grad():
            found = model(ids, output_attentions=True).attentions[1][0, index, 5, :6]
        hook.remove()
        return found

    before, after, opposite = attention(0.0), attention(0.05), attention(-0.05)
    others = before[1:5].sum()
    assert float(after[0] / after[1:5].sum()) > float(before[0] / others) > float(opposite[0] / opposite[1:5].sum())


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_directions_agree_with_finite_differences(architecture, monkeypatch):
    """P46: what the attention logit of BOS gains when the normalised input of a query moves, linear and odd.

    In float64, along every axis, for the head of layer 1 that a scaled dot product is given second. Each destination
    counts alike.
    """
    loaded = in_memory(build(architecture).double())
    view = WeightView(loaded, dissect(loaded))
    layers, directions = bos_query_directions(view)
    (norm,) = {part.query.input_norm.norm for part in view.anatomy.heads if part.layer == 1}
    gain = view.norm(norm, 32).gain.double()
    before, text = special_tokens(loaded.tokenizer)[0], probe_ids(loaded)
    ids = torch.cat([torch.tensor([before[:1]]), text], dim=1)
    attend, seen = torch.nn.functional.scaled_dot_product_attention, []

    def watch(query, key, value, *args, scale=None, **options):
        seen.append((query[0, 1] @ key[0, key.shape[1] // query.shape[1], 0]) * (scale or query.shape[-1] ** -0.5))
        return attend(query, key, value, *args, scale=scale, **options)

    def logits(move):
        hook = loaded.model.get_submodule(norm).register_forward_hook(lambda module, args, output: output + gain * move)
        seen.clear()
        with torch.no_grad():
            loaded.model(ids)
        hook.remove()
        return seen[1][1:]  # of layer 1, [destination]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watch)
    loaded.model.set_attn_implementation("sdpa")
    queries = (torch.arange(ids.shape[1]) > 0).double()[:, None]  # BOS keeps its key
    clean = logits(0 * queries)
    gained = torch.stack([logits(axis * queries) - clean for axis in torch.eye(32, dtype=torch.float64)])
    if architecture != "llama":
        gained = gained - gained.mean(dim=0)  # a layer norm makes no constant direction
    expected = normalize(normalize(gained, dim=0).mean(dim=1), dim=0)
    index = [number for number, layer in enumerate(layers.tolist()) if layer == 1][1]
    torch.testing.assert_close(directions[index], expected, rtol=1e-6, atol=1e-8)
    push = torch.randn(32, generator=torch.Generator().manual_seed(4)).double() * queries
    half, whole, opposite = (logits(size * push) - clean for size in (0.5, 1.0, -1.0))
    torch.testing.assert_close(2 * half, whole)
    torch.testing.assert_close(-opposite, whole)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_alignment_agrees_with_numpy(architecture):
    view = view_of(architecture)
    layers, directions = (found.numpy() for found in bos_query_directions(view))
    found, share, head = bos_alignment(view).numpy()
    layer = Weights(view).layer
    write = writes(view)
    cosines = write @ directions.T / np.linalg.norm(write, axis=1, keepdims=True)
    first = layer == 0
    later = cosines[first][:, layers > 0]
    expected = np.take_along_axis(later, np.abs(later).argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(found[first], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(head[first], 4 + np.abs(later).argmax(axis=1))
    assert np.isnan(found[~first]).all()  # no head comes after the last layer
    assert 0.3 < np.mean(share[first]) < 0.7  # random write vectors are like mixtures of them


def test_planted_neurons_are_beyond_mixtures_of_their_layer():
    loaded = in_memory(build("gpt2"))
    _, directions = bos_query_directions(WeightView(loaded, dissect(loaded)))
    with torch.no_grad():
        loaded.model.transformer.h[0].mlp.c_proj.weight[:2] = torch.stack([directions[5], -directions[6]]).float()
    found, share, _ = bos_alignment(WeightView(loaded, dissect(loaded)))
    torch.testing.assert_close(found[:2], torch.tensor([1.0, -1.0], dtype=torch.float64), rtol=1e-3, atol=0)
    assert share[:2].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("mapping", "model_type", "reason"),
    [
        ("seq2seq", "pegasus", "an encoder and a decoder"),
        ("causal", "qwen3", "not the output of one projection"),
        ("causal", "deepseek_v2", "do not read the residual stream itself"),
    ],
)
def test_the_reason_is_given_where_there_is_none(mapping, model_type, reason):
    with pytest.raises(NotApplicable, match=reason):
        bos_alignment(WeightView(*prepared(mapping, model_type)))


def test_a_bos_whose_embedding_is_zero_has_no_key():
    """As where it is the token of padding too."""
    with pytest.raises(NotApplicable, match="the key of BOS is zero"):
        bos_alignment(view_of("phi3"))
