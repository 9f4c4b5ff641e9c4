"""Correlations of attention between the heads of two models, against numpy."""

import numpy as np
import pytest
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.roles.attention import attention_patterns, eager_attention
from pytest_unineuron.roles.pattern_agreement import PatternProducts, head_correlations, pattern_products
from tests.roles.views import batches, view_of

FIRST_QUERY = 2


def of_two(architecture):
    """Two models, what they read, and the products of their attention."""
    one, other, read = view_of(architecture), view_of(architecture, seed=7), batches(200)
    return one, other, read, pattern_products(one, read, other, read, FIRST_QUERY)


def entries(view, read, layer):
    """The attention of a layer less even attention, at visible keys of text tokens, [head, query and key]."""
    found = []
    with eager_attention(view.loaded.model):
        for batch in read:
            pattern = attention_patterns(view, batch)[layer].numpy().astype(float)
            causal = not np.triu(pattern, 1).any()
            for row, length in enumerate(batch.attention_mask.sum(dim=1).tolist()):
                for query in range(FIRST_QUERY, length):
                    keys = query + 1 if causal else length
                    if batch.text_mask[row, query]:
                        found.append(pattern[row, :, query, :keys] - 1 / keys)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("architecture", ["gpt2", "bert"])
def test_correlations_are_those_of_numpy(architecture):
    """Over all pairs of a query and a visible key, of texts of several lengths."""
    one, other, read, products = of_two(architecture)
    for layer, found in enumerate(products.correlations()):
        expected = np.corrcoef(entries(one, read, layer), entries(other, read, layer))[:4, 4:]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_partner_is_chosen_on_one_half_and_read_on_the_other():
    """The largest correlation of even groups names the partner, and odd groups its correlation."""
    products = of_two("gpt2")[-1]
    even, odd = (products.only(range(half, products.groups, 2)).correlations() for half in (0, 1))
    expected = torch.cat(
        [reading[range(4), choosing.argmax(dim=1)] for choosing, reading in zip(even, odd, strict=True)]
    )
    torch.testing.assert_close(products.matched(), expected)
    left = products.only([group for group in range(products.groups) if group != 1])
    assert left.number.tolist() == [group for group in products.number.tolist() if group != 1]


def test_every_head_finds_itself_wherever_it_is():
    """In the same model with its heads in another order, all correlations with partners are 1."""
    read, one, other = batches(200), view_of("gpt2"), view_of("gpt2")
    with torch.no_grad():
        for block in other.loaded.model.transformer.h:
            for parameter in (block.attn.c_attn.weight, block.attn.c_attn.bias):
                heads = parameter.unflatten(-1, (3, 4, 8))
                heads.copy_(heads[..., [2, 0, 3, 1], :].clone())
            rows = block.attn.c_proj.weight.unflatten(0, (4, 8))
            rows.copy_(rows[[2, 0, 3, 1]].clone())
    found = pattern_products(one, read, other, read, FIRST_QUERY)
    torch.testing.assert_close(found.matched(), torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_whole_matrices_agree_because_of_the_half_that_no_query_sees():
    """Random heads with logits of deviation 0.5 have a mean correlation of 0.84; less even attention, it is near 0."""
    one, other = (np.stack([patterns_of(0.5, seed) for seed in range(start, start + 40)]) for start in (0, 40))
    even = np.tri(17) / np.arange(1, 18)[:, None]
    seen = np.tri(17, dtype=bool)
    for values, expected in (
        ([each.reshape(40, -1) for each in (one, other)], 0.84),
        ([(each - even)[:, seen] for each in (one, other)], 0.0),
    ):
        stacked = torch.from_numpy(np.concatenate([np.ones((1, values[0].shape[1])), *values]))
        assert float(head_correlations(stacked @ stacked.T).mean()) == pytest.approx(expected, abs=0.03)


def patterns_of(deviation, seed):
    """Causal attention of one head with Normal logits, [query, key] of 17 tokens."""
    logits = np.random.default_rng(seed).normal(0, deviation, (17, 17))
    weights = np.exp(logits) * np.tri(17)
    return weights / weights.sum(axis=1, keepdims=True)


def test_flat_products_take_the_whole_matrix():
    """The mean correlation of models whose attention has nothing in common is large."""
    one, other, read, centred = of_two("gpt2")
    flat = pattern_products(one, read[:1], other, read[:1], flat=True)
    assert float(torch.stack(flat.correlations()).mean()) > 0.6 > 0.3 > float(centred.matched().mean())


def test_a_head_that_attends_evenly_has_no_correlation():
    """It never varies beyond even attention, so nothing is known of it."""
    values = np.stack([np.ones(289), np.zeros(289), patterns_of(1, 0).flatten()])
    assert head_correlations(torch.from_numpy(values @ values.T)).isnan().all()


def test_models_of_other_shapes_are_not_compared():
    """The reason says so."""
    with pytest.raises(NotApplicable, match="do not have the same heads in each layer"):
        pattern_products(view_of("gpt2"), batches(), view_of("gpt2", n_head=8), batches())


def test_leaving_out_groups_keeps_the_halves():
    """The number of a group says which half it belongs to, whatever was left out."""
    products = PatternProducts(torch.zeros(1), torch.arange(4), [torch.rand(4, 3, 3)])
    assert products.only([1, 2]).number.tolist() == [1, 2]
