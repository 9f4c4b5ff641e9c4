"""Folded weights are the weights that act: for every kind of norm and arrangement of a block."""

import pytest
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.folding import folded_weights
from pytest_unineuron.models.weights.norms import probe_norm
from pytest_unineuron.models.weights.weight_view import WeightView
from tools.architectures.examine import _Tokens
from tools.architectures.shrink import Entry, inputs, tiny

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
    "masked-bert": "LayerNorm, after, read by the head's own",
    "masked-xlm": "LayerNorm, after, over heads of another kind",
    "masked-mobilebert": "a norm in name only, that leaves the length as it is",
    "seq2seq-t5": "RMSNorm, encoder and decoder",
    "seq2seq-bart": "LayerNorm, after, encoder and decoder",
}


def view(name, dtype):
    mapping, _, model_type = name.partition("-")
    model = tiny(Entry(mapping, model_type)).to(dtype)
    loaded = LoadedModel(model, _Tokens(), "", None)
    return WeightView(loaded, dissect(loaded))


def difference(seen):
    """By how much log-probabilities move, relative to the largest, and what was replaced."""
    model = seen.loaded.model
    with torch.no_grad(), eager_experts(model):
        before = model(**inputs(model))[0].log_softmax(-1)
        with folded_weights(seen) as replaced:
            after = model(**inputs(model))[0].log_softmax(-1)
    return float((before - after).abs().max() / before.abs().max()), replaced


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_log_probabilities_stay_as_they_are(name, dtype, limit):
    """P30, P31: up to rounding."""
    error, replaced = difference(view(name, dtype))
    assert replaced
    assert error < limit


def test_and_this_test_notices_when_they_do_not(monkeypatch):
    """A gain that is off by a hundredth is seen."""
    from pytest_unineuron.models.weights import folding

    seen = view("causal-llama", torch.float64)
    true = folding.fold
    monkeypatch.setattr(folding, "fold", lambda weight, norm: 1.01 * true(weight, norm))
    assert difference(seen)[0] > 1e-3


@pytest.mark.parametrize(
    ("name", "centred"), [("causal-gpt2", True), ("masked-bert", True), ("causal-llama", False), ("causal-rwkv", None)]
)
def test_writes_are_centred_where_every_reader_centres(name, centred):
    """Not behind an RMSNorm, and not where a gate stands between; where no norm can be folded it is said."""
    seen = view(name, torch.float64)
    if centred is None:
        with pytest.raises(NotApplicable, match="layer 0 cannot be folded: it reads more than the output of one norm"):
            _ = seen.layers
        return
    means = torch.cat([layer.write.mean(dim=1) for layer in seen.layers]).abs().max()
    assert bool(means < 1e-12) is centred


def test_a_soft_cap_is_seen():
    """Logits that are bent are not shifted by a constant: they are not centred over the vocabulary."""
    assert view("causal-gemma2", torch.float32).anatomy.capped
    assert not view("causal-gemma", torch.float32).anatomy.capped


class Softmax(torch.nn.Module):
    """Calls itself a norm and is none."""

    def forward(self, x):
        return x.softmax(dim=-1)


def test_what_is_no_norm_is_not_folded():
    """Neither subtracts a mean and divides, nor divides: said, with the class."""
    with pytest.raises(NotApplicable, match="Softmax is neither a LayerNorm nor an RMSNorm; it cannot be folded"):
        probe_norm(Softmax(), 8)
