"""Heads and unembeddings, found in the same trace."""

import pytest
import torch

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import build, tokenizer


def loaded(architecture, **choices):
    return LoadedModel(build(architecture, **choices), tokenizer(), "", None)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
def test_every_head_has_its_own_query_rows(architecture):
    """Two layers of four heads; no row of a query belongs to two heads."""
    heads = dissect(loaded(architecture)).heads
    assert [(head.layer, head.index) for head in heads] == [(layer, i) for layer in (0, 1) for i in range(4)]
    for layer in (0, 1):
        of_layer = [head.query.rows for head in heads if head.layer == layer]
        rows = [row for part in of_layer for row in part]
        assert len(rows) == len(set(rows)) == 32


def test_fused_projections_are_taken_apart():
    """GPT-2 stores query, key and value one after the other; NeoX head by head."""
    gpt2, neox = dissect(loaded("gpt2")).heads[1], dissect(loaded("gpt_neox")).heads[1]
    assert (gpt2.query.rows[0], gpt2.key.rows[0]) == (8, 32 + 8)
    assert (neox.query.rows[0], neox.key.rows[0]) == (24, 32)


def test_grouped_heads_share_a_key():
    """With half as many keys as queries, neighbours read the same one."""
    heads = dissect(loaded("llama")).heads
    assert heads[0].key == heads[1].key != heads[2].key


def test_head_weights_are_the_rows_of_the_projections():
    """Against the stored tensors of GPT-2."""
    from pytest_unineuron.lab.weights import Weights

    model = loaded("gpt2")
    head = Weights(WeightView(model, dissect(model))).heads[5]
    stored = model.model.state_dict()["transformer.h.1.attn.c_attn.weight"].T
    query, key = head.raw()
    torch.testing.assert_close(query, stored[8:16], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(key, stored[40:48], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "unembedding", "norm"),
    [
        ("gpt2", "lm_head", "transformer.ln_f"),
        ("gpt_neox", "lm_head", "gpt_neox.final_layer_norm"),
        ("llama", "lm_head", "model.norm"),
        ("bert", "", ""),
    ],
)
def test_unembedding_and_final_norm(architecture, unembedding, norm):
    """Tied or not; behind an MLM head there is none."""
    found = dissect(loaded(architecture))
    assert (found.unembedding, found.final_norm) == (unembedding, norm)


def test_a_model_that_does_not_take_tokens_says_so():
    """In one sentence, naming the class."""

    class Picky(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, pixels):
            return pixels

    with pytest.raises(ModelError, match="Picky does not run on token ids alone"):
        dissect(LoadedModel(Picky(), tokenizer(), "", None))
