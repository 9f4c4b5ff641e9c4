"""A neuron's part in the queries of one head, against the same done by hand (numbers are those of the list of laws)."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, softmax

from pytest_unineuron.corpora.encode import special_tokens
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.attention import attention_patterns, eager_attention
from pytest_unineuron.roles.bos_attention import bos_query_directions
from pytest_unineuron.roles.path_ablation import (
    added_attention,
    attention_to_first,
    attention_without,
    correlation,
    moved,
)
from tests.models.tiny import build, in_memory, prepared
from tests.roles.views import batches, view_of


def test_it_agrees_with_attention_by_hand():
    """P55, P56: in float64, with the keys as they were, and rows that sum to 1."""
    loaded = in_memory(build("gpt2").double())
    view, batch, neuron, head = WeightView(loaded, dissect(loaded)), batches()[0], 7, 2
    block = loaded.model.transformer.h[1]
    seen = {}
    hooks = [
        block.ln_1.register_forward_pre_hook(lambda m, a: seen.update(stream=a[0])),
        loaded.model.transformer.h[0].mlp.c_proj.register_forward_pre_hook(lambda m, a: seen.update(unit=a[0][..., 7])),
    ]
    with torch.no_grad():
        loaded.model(batch.ids, attention_mask=batch.attention_mask)
    for hook in hooks:
        hook.remove()

    def by_hand(stream):
        with torch.no_grad():
            query = block.attn.c_attn(block.ln_1(stream))[..., head * 8 : head * 8 + 8]
            key = block.attn.c_attn(block.ln_1(seen["stream"]))[..., 32 + head * 8 : 40 + head * 8]
            scores = query @ key.mT / 8**0.5
            mask = torch.ones_like(scores[0], dtype=torch.bool).tril() & batch.attention_mask.bool()[:, None]
            return softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)[..., 0]

    write = loaded.model.transformer.h[0].mlp.c_proj.weight[neuron].detach()
    with eager_attention(loaded.model):
        clean = attention_to_first(view, attention_patterns(view, batch), 4 + head)
        without, fired = attention_without(view, batch, neuron, 4 + head)
    text = batch.text_mask
    torch.testing.assert_close(fired, seen["unit"])
    torch.testing.assert_close(clean[text], by_hand(seen["stream"])[text])
    expected = by_hand(seen["stream"] - seen["unit"][..., None] * write)
    torch.testing.assert_close(without[text], expected[text], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(clean[text], without[text])


def test_other_heads_attend_as_they_did():
    """P55: keys and values are restored, so only the pattern of that head changes in its layer."""
    loaded = in_memory(build("gpt2"))
    view, batch, head = WeightView(loaded, dissect(loaded)), batches()[0], 2
    seen = []
    module = loaded.model.transformer.h[1].attn
    hook = module.register_forward_hook(lambda m, args, output: seen.append(output[1]))
    with eager_attention(loaded.model):
        attention_patterns(view, batch)
        attention_without(view, batch, 7, 4 + head)
    hook.remove()
    clean, without = (patterns.movedim(1, 0) for patterns in seen)  # [head, row, query, key]
    assert not torch.allclose(clean[head], without[head], atol=1e-6)
    others = [number for number in range(len(clean)) if number != head]
    torch.testing.assert_close(without[others], clean[others], rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_a_neuron_that_writes_nothing_adds_nothing(architecture):
    """P55: the attention stays; and how attention is computed is as before."""
    view = view_of(architecture)
    before = view.loaded.model.config._attn_implementation
    with torch.no_grad():
        view.loaded.model.get_submodule(view.anatomy.layout.layers[0].down.module).weight[:] = 0
    found = added_attention(WeightView(view.loaded, view.anatomy), batches(), torch.tensor([[3, 5]]))
    assert found.mean("added") == moved(found) == 0
    assert np.isnan(correlation(found)).all()
    assert view.loaded.model.config._attn_implementation == before


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_a_neuron_along_the_bos_query_raises_the_attention_to_bos_when_it_fires(architecture):
    """The opposite neuron lowers it, so the weights predict the direction."""
    loaded = in_memory(build(architecture))
    view = WeightView(loaded, dissect(loaded))
    layers, directions = bos_query_directions(view)
    head = int((layers == 1).nonzero()[0])
    with torch.no_grad():
        weight = loaded.model.get_submodule(view.anatomy.layout.layers[0].down.module).weight
        rows = weight if weight.shape[0] == 48 else weight.T  # Conv1D stores [unit, width]
        rows[3], rows[4] = 2 * directions[head].float(), -2 * directions[head].float()
    view = WeightView(loaded, view.anatomy)
    found = added_attention(view, batches(), torch.tensor([[3, head], [4, head]]))
    assert correlation(found)[0] > 0.3
    assert correlation(found)[1] < -0.3
    assert moved(found)[0] > 0 > moved(found)[1]


def test_sums_agree_with_all_tokens_at_once():
    """The means and the correlation are those over the text tokens of all batches, in float64."""
    loaded = in_memory(build("gpt2").double())
    view, read = WeightView(loaded, dissect(loaded)), batches()
    found = added_attention(view, read, torch.tensor([[7, 6]]))
    units, added = [], []
    with eager_attention(loaded.model):
        for batch in read:
            without, fired = attention_without(view, batch, 7, 6)
            clean = attention_to_first(view, attention_patterns(view, batch), 6)
            units.append(fired[batch.text_mask].numpy())
            added.append((clean - without)[batch.text_mask].numpy())
    x, y = np.concatenate(units), np.concatenate(added)
    assert float(found.tokens.sum()) == len(x) > 20
    assert found.groups == len(read) == 1 + found.without(0).groups
    np.testing.assert_allclose(found.mean("added"), [y.mean()], rtol=1e-5)
    np.testing.assert_allclose(moved(found), [np.polyfit(x, y, 1)[0] * x.std()], rtol=1e-5)
    np.testing.assert_allclose(correlation(found), [np.corrcoef(x, y)[0, 1]], rtol=1e-5)


@pytest.mark.parametrize(("size", "sign"), [(-1.0, 1), (3.0, -1)])
def test_attention_follows_the_logit_of_bos_where_its_key_is_unlike_others(size, sign):
    """Keys in the same direction that are larger than that of BOS turn the predicted change of attention around."""
    loaded = in_memory(build("gpt2"))
    view = WeightView(loaded, dissect(loaded))
    model, layers = loaded.model.transformer, bos_query_directions(view)[0]
    head, (bos, *_) = int((layers == 1).nonzero()[0]), special_tokens(loaded.tokenizer)[0]
    with torch.no_grad():
        shared = normalize(torch.randn(32, generator=torch.Generator().manual_seed(5)), dim=0)
        shared -= shared.mean()
        model.wte.weight += size * shared
        model.wte.weight[bos] += (1 - size) * shared
        model.h[1].attn.c_attn.weight[:, 32:40] = torch.outer(shared, torch.ones(8))
    direction = bos_query_directions(WeightView(loaded, view.anatomy))[1][head]
    with torch.no_grad():
        model.h[0].mlp.c_proj.weight[3] = 2 * direction.float()
    added = added_attention(WeightView(loaded, view.anatomy), batches(), torch.tensor([[3, head]]))
    assert sign * correlation(added)[0] > 0.3


def test_a_model_whose_attention_cannot_be_had_says_why():
    """Falcon's queries see later keys as soon as it returns its attention."""
    loaded, anatomy = prepared("causal", "falcon")
    with pytest.raises(NotApplicable, match="computes something else when it returns its attention"):
        added_attention(WeightView(loaded, anatomy), batches(), torch.tensor([[3, 5]]))
