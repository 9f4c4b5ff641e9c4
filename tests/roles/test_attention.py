"""Statistics of attention probabilities, against numpy in float64 (numbers are those of the list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.attention import QUANTITIES, attention_sums, eager_attention, quantities
from tests.models.tiny import build, in_memory, prepared
from tests.roles.views import batches, view_of


def patterns(seed, heads=3, tokens=9):
    """Random causal attention, [head, query, key] float64; some heads are sharp."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, random.choice([0.1, 1, 30], size=(heads, 1, 1)), (heads, tokens, tokens))
    weights = np.where(np.tri(tokens, dtype=bool), np.exp(logits - logits.max(axis=-1, keepdims=True)), 0)
    return weights / weights.sum(axis=-1, keepdims=True).clip(1e-300)


def by_hand(pattern):
    """The quantities of one pattern [query, key], each [query]."""
    tokens = len(pattern)
    return {
        "first": pattern[:, 0],
        "previous": np.array([0.0, *(pattern[i, i - 1] for i in range(1, tokens))]),
        "own": np.array([pattern[i, i] for i in range(tokens)]),
        "largest": pattern.max(axis=1),
        "entropy": entr(pattern).sum(axis=1),
    }


@given(st.integers(0, 2**32 - 1))
def test_quantities_are_those_of_each_row(seed):
    """As numpy and scipy have them; entropy lies between 0 and that of even attention, and the largest above that."""
    made = patterns(seed)
    found = quantities(torch.from_numpy(made)[None])[:, 0].numpy()  # [quantity, head, query]
    expected = [[by_hand(pattern)[name] for pattern in made] for name in QUANTITIES]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    _, _, _, largest, entropy = found
    visible = np.arange(1, made.shape[1] + 1)
    assert (entropy >= 0).all()
    assert (entropy <= np.log(visible) + 1e-12).all()
    assert (largest >= 1 / visible - 1e-12).all()


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "bert"])
def test_it_agrees_with_the_attention_that_the_model_returns(architecture):
    """P56: mean and variance of every head and group, in float64, over the tokens that count."""
    loaded, read = in_memory(build(architecture).double()), batches()
    view = WeightView(loaded, dissect(loaded))
    with eager_attention(loaded.model), torch.no_grad():
        outputs = [loaded.model(b.ids, attention_mask=b.attention_mask, output_attentions=True) for b in read]
    for first_query in (0, 3):
        sums = attention_sums(view, read, first_query)
        assert sums.layer.tolist() == [0] * 4 + [1] * 4
        for name in QUANTITIES:
            expected: dict = {}
            for batch, output in zip(read, outputs, strict=True):
                counted = (batch.text_mask if first_query else batch.attention_mask.bool()).clone()
                counted[:, : max(first_query, name == "previous")] = False
                attention = torch.cat(output.attentions, dim=1).numpy()  # [row, head, query, key]
                for of_row, mask in zip(attention, counted.numpy(), strict=True):
                    values = np.array([by_hand(pattern)[name][mask] for pattern in of_row])
                    expected.setdefault(batch.group, []).append(values)
            for group, of_group in expected.items():
                values, found = np.concatenate(of_group, axis=1), sums.only([group])
                np.testing.assert_allclose(found.mean(name).numpy(), values.mean(axis=1), rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(found.variance(name).numpy(), values.var(axis=1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bert"])
def test_heads_without_keys_attend_evenly(architecture):
    """Then all quantities are those of even attention, for causal models and for those that see later tokens."""
    view = view_of(architecture)
    with torch.no_grad():
        for head in view.anatomy.heads:
            view.linear(head.key.projection, head.key.width).weight[list(head.key.rows)] = 0
    sums = attention_sums(view, batches(), 0)
    for name in QUANTITIES:
        expected = sums.even_mean(name).expand(len(sums.layer))
        torch.testing.assert_close(sums.mean(name), expected, rtol=1e-5, atol=1e-7)


def test_groups_are_added_up():
    """The mean over some groups is that of the parts, weighted by their tokens."""
    sums = attention_sums(view_of("gpt2"), batches(), 2)
    kept = list(range(1, sums.groups))
    for number, name in enumerate(QUANTITIES):
        tokens = sums.tokens[number][kept]
        parts = torch.stack([sums.only([group]).mean(name) for group in kept])  # [group, head]
        torch.testing.assert_close(sums.only(kept).mean(name), (parts * tokens[:, None]).sum(dim=0) / tokens.sum())


@pytest.mark.parametrize(
    ("mapping", "model_type", "words"),
    [
        ("seq2seq", "t5", "T5ForConditionalGeneration does not return its attention"),
        ("causal", "falcon", "FalconForCausalLM computes something else when it returns its attention"),
        ("masked", "longformer", "no attention heads were found in LongformerForMaskedLM"),
    ],
)
def test_a_model_whose_attention_cannot_be_had_says_why(mapping, model_type, words):
    """And it computes attention as before."""
    loaded, anatomy = prepared(mapping, model_type)
    before = loaded.model.config._attn_implementation
    with pytest.raises(NotApplicable, match=words):
        attention_sums(WeightView(loaded, anatomy), batches())
    assert loaded.model.config._attn_implementation == before


@pytest.mark.parametrize(("mapping", "model_type"), [("causal", "deepseek_v3"), ("causal", "gpt_oss")])
def test_heads_of_other_projections_and_with_sinks_are_read(mapping, model_type):
    """Latent queries and keys are no obstacle, and a row that gives a part to a sink may sum to less than 1."""
    loaded, anatomy = prepared(mapping, model_type)
    sums = attention_sums(WeightView(loaded, anatomy), batches())
    assert len(sums.layer) == 8
    assert bool((sums.mean("first") > 0).all())
    assert bool((sums.mean("largest") <= 1).all())
