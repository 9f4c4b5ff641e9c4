"""Weights in one orientation, with norms folded: checked against what the model computes."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.matrix import module_matrix
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.norms import probe_norm
from pytest_unineuron.models.weights.weight_view import WeightView, centred
from tests.models.tiny import build, tokenizer

ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "phi3", "bert")


def loaded(architecture, dtype=torch.float64, **choices):
    return LoadedModel(build(architecture, **choices).to(dtype), tokenizer(), "", None)


def view(architecture, **choices):
    model = loaded(architecture, **choices)
    return WeightView(model, dissect(model))


def normal_form(x, norm):
    """What a norm makes of x before its own gain and shift."""
    x = x - x.mean(dim=-1, keepdim=True) if norm.centres else x
    return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folded_reads_give_the_pre_activation(architecture):
    """P30: ŵ·n + b̂ on the normal form n of the stream is what the activation function reads."""
    seen = view(architecture)
    model, modules = seen.loaded.model, dict(seen.loaded.model.named_modules())
    caught, hooks = {}, []
    for index, layer in enumerate(seen.anatomy.layout.layers):
        norm, up = modules[layer.norm], modules[layer.up[0].projection.module]
        hooks += [
            norm.register_forward_pre_hook(lambda m, a, i=index: caught.update({(i, "stream"): a[0]})),
            up.register_forward_hook(lambda m, a, out, i=index: caught.update({(i, "pre"): out})),
        ]
    with torch.no_grad():
        model(probe_ids(seen.loaded))
    for hook in hooks:  # reading weights would run them too
        hook.remove()
    for index, (layer, weights) in enumerate(zip(seen.anatomy.layout.layers, seen.layers, strict=True)):
        norm = seen.norm(layer.norm, 32)
        up = layer.up[0]
        pre = caught[index, "pre"][..., up.offset :: up.stride][..., : layer.width]
        found = normal_form(caught[index, "stream"], norm) @ weights.read.double().T
        if weights.bias is not None:
            found = found + weights.bias.double()
        torch.testing.assert_close(found, pre, rtol=1e-3, atol=1e-3 * float(pre.abs().max()))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_folded_unembedding_gives_the_log_probabilities(architecture):
    """P30, P31: log-softmax is the same up to rounding; centring over the vocabulary shifts only a constant."""
    seen = view(architecture)
    model, modules = seen.loaded.model, dict(seen.loaded.model.named_modules())
    caught = {}
    modules[seen.anatomy.final_norm].register_forward_pre_hook(lambda m, a: caught.update(stream=a[0]))
    with torch.no_grad():
        expected = model(probe_ids(seen.loaded)).logits.log_softmax(-1)
    stream = caught["stream"]
    norm = seen.norm(seen.anatomy.final_norm, 32)
    weight = seen.unembedding_weight.weight
    logits = normal_form(stream, norm) @ seen.unembedding.double().T + weight @ norm.shift
    torch.testing.assert_close(logits.log_softmax(-1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "bert"])
def test_layer_norm_models_are_centred(architecture):
    """P31: folded reads, and writes, sum to zero over the width."""
    for layer in view(architecture).layers:
        for matrix in (layer.read, layer.write):
            assert float(matrix.sum(dim=1).abs().max()) < 1e-4


def test_rms_norm_models_are_not():
    """Nothing subtracts a mean there, so nothing may be subtracted from the weights."""
    (first, *_) = view("llama").layers
    assert float(first.read.sum(dim=1).abs().max()) > 1e-2


def test_unembedding_is_centred_both_ways():
    """P31: over the width and over the vocabulary."""
    unembedding = view("gpt2").unembedding
    assert float(unembedding.sum(dim=0).abs().max()) < 1e-3
    assert float(unembedding.sum(dim=1).abs().max()) < 1e-3


def test_constants_that_a_layer_norm_cannot_see_change_nothing():
    """P33: adding a constant to the residual coordinates of a write changes nothing after centring."""
    matrix = torch.randn(5, 32)
    torch.testing.assert_close(centred(matrix + 3.0), centred(matrix), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_no_bias_is_not_a_zero_bias(architecture):
    """Gated models have none: the statistic does not apply, and says so."""
    from pytest_unineuron.lab.weights import Weights

    seen = view(architecture)
    assert {layer.bias for layer in seen.layers} == {None}
    with pytest.raises(NotApplicable, match="have no input bias"):
        _ = Weights(seen).bias


def test_an_encoder_head_is_no_unembedding():
    """Behind an MLM head the write vectors have no direct effect on the logits."""
    with pytest.raises(NotApplicable, match="BertForMaskedLM has no unembedding behind its last norm"):
        _ = view("bert").unembedding


def test_padding_rows_of_the_vocabulary_are_dropped():
    """B12: rows beyond the tokenizer's vocabulary are not tokens."""
    seen = view("gpt_neox", vocab_size=320)
    assert len(seen.unembedding) == len(tokenizer()) == len(seen.embedding)


class Gemma(nn.Module):
    """A norm that stores its gain minus one."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


@pytest.mark.parametrize("width", [8, 9])
def test_a_norm_is_read_by_what_it_does(width):
    """LayerNorm, RMSNorm and gain-minus-one, for even and odd widths."""
    gain, shift = torch.randn(width), torch.randn(width)
    layer = nn.LayerNorm(width)
    layer.load_state_dict({"weight": gain, "bias": shift})
    root = nn.RMSNorm(width)
    root.load_state_dict({"weight": gain})
    for norm, centres, offset in ((layer, True, shift), (root, False, 0 * shift), (Gemma(gain - 1), False, 0 * shift)):
        found = probe_norm(norm, width)
        assert found.centres is centres
        torch.testing.assert_close(found.gain, gain, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.shift, offset, rtol=1e-4, atol=1e-4)


def test_replay_reads_any_orientation():
    """GPT-2 stores [input, output], torch [output, input]; replay gives the latter."""
    from transformers.pytorch_utils import Conv1D

    plain, turned = nn.Linear(5, 7), Conv1D(7, 5)
    with torch.no_grad():
        turned.weight.copy_(plain.weight.T)
        turned.bias.copy_(plain.bias)
    for module in (plain, turned):
        found = module_matrix(module, 5)
        torch.testing.assert_close(found.weight, plain.weight)
        torch.testing.assert_close(found.bias, plain.bias)


def test_weight_statistics_agree_with_an_independent_computation():
    """‖ŵ_in‖, ‖ŵ_out‖, cos and b̂ of GPT-2 from the raw tensors in float64, by the paper's formulas."""
    from pytest_unineuron.lab.weights import Weights

    seen = view("gpt2", dtype=torch.float32)
    state = {k: v.double().numpy() for k, v in seen.loaded.model.state_dict().items()}
    expected = {"read_norm": [], "write_norm": [], "cosine": [], "bias": [], "raw_bias": []}
    for layer in range(2):
        at = f"transformer.h.{layer}."
        gain, shift = state[at + "ln_2.weight"], state[at + "ln_2.bias"]
        raw, out = state[at + "mlp.c_fc.weight"].T, state[at + "mlp.c_proj.weight"]
        read = gain * raw
        read -= read.mean(axis=1, keepdims=True)
        write = out - out.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(read, axis=1), np.linalg.norm(write, axis=1)
        expected["read_norm"].append(norms[0])
        expected["write_norm"].append(norms[1])
        expected["cosine"].append((read * write).sum(axis=1) / norms[0] / norms[1])
        expected["raw_bias"].append(state[at + "mlp.c_fc.bias"])
        expected["bias"].append(state[at + "mlp.c_fc.bias"] + raw @ shift)
    found = Weights(seen)
    for name, parts in expected.items():
        np.testing.assert_allclose(getattr(found, name), np.concatenate(parts), rtol=1e-5, atol=1e-5, err_msg=name)
