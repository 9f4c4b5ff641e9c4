"""A model computes the same on its folded weights, for every kind of norm and every arrangement of a block."""

import pytest
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import in_memory
from tools.architectures import folding
from tools.architectures.examine import SizedTokenizer
from tools.architectures.folding import folded_weights
from tools.architectures.shrink import Entry, tiny_model, token_inputs

ARRANGEMENTS = {
    "causal-gpt2": "LayerNorm, before, one after the other",
    "causal-gpt_neox": "LayerNorm, before, side by side",
    "causal-gptj": "one LayerNorm for attention and MLP, side by side",
    "causal-llama": "RMSNorm, before",
    "causal-gemma": "RMSNorm that stores its gain less one",
    "causal-gemma2": "RMSNorm before and after, logits under a soft cap",
    "causal-olmo2": "RMSNorm, after",
    "causal-phi": "LayerNorm, side by side, biases everywhere",
    "causal-mixtral": "RMSNorm before experts",
    "causal-openai-gpt": "LayerNorm, after",
    "masked-bert": "LayerNorm, after, read by the norm of the head",
    "masked-xlm": "LayerNorm, after, over heads of another kind",
    "masked-mobilebert": "a norm in name only, which does not change the length",
    "seq2seq-t5": "RMSNorm, encoder and decoder",
    "seq2seq-bart": "LayerNorm, after, encoder and decoder",
}


def view_of(name, dtype):
    mapping, _, model_type = name.partition("-")
    loaded = in_memory(tiny_model(Entry(mapping, model_type)).to(dtype), SizedTokenizer())
    return WeightView(loaded, dissect(loaded))


def difference(view):
    """The largest change of a log-probability on folded weights, relative to the largest, and what was replaced."""
    model = view.loaded.model
    with torch.no_grad(), eager_experts(model):
        before = model(**token_inputs(model))[0].log_softmax(-1)
        with folded_weights(view) as replaced:
            after = model(**token_inputs(model))[0].log_softmax(-1)
    return float((before - after).abs().max() / before.abs().max()), replaced


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_log_probabilities_do_not_change(name, dtype, limit):
    """P30, P31: they are the same up to rounding."""
    error, replaced = difference(view_of(name, dtype))
    assert replaced
    assert error < limit


def test_a_wrong_gain_would_be_noticed(monkeypatch):
    """A gain that is wrong by a hundredth changes log-probabilities."""
    view = view_of("causal-llama", torch.float64)
    true = folding.fold
    monkeypatch.setattr(folding, "fold", lambda weight, norm: 1.01 * true(weight, norm))
    assert difference(view)[0] > 1e-3


@pytest.mark.parametrize(
    ("name", "centred"), [("causal-gpt2", True), ("masked-bert", True), ("causal-llama", False), ("causal-rwkv", None)]
)
def test_writes_are_centred_where_every_reader_centres(name, centred):
    """They are not centred where an RMSNorm reads them. A norm that cannot be folded is an error."""
    view = view_of(name, torch.float64)
    if centred is None:
        with pytest.raises(NotApplicable, match="layer 0 cannot be folded: it reads more than the output of one norm"):
            _ = view.layers
        return
    means = torch.cat([layer.write.mean(dim=1) for layer in view.layers]).abs().max()
    assert bool(means < 1e-12) is centred


def test_a_soft_cap_on_logits_is_found():
    """Logits under a soft cap must not be centred over the vocabulary."""
    assert view_of("causal-gemma2", torch.float32).anatomy.capped
    assert not view_of("causal-gemma", torch.float32).anatomy.capped
