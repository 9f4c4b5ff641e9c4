"""Weights in one orientation with norms folded in, compared with what the model computes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.matrix import module_matrix
from pytest_unineuron.models.weights.norms import probe_norm
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import build, in_memory, tokenizer


def view_of(architecture, dtype=torch.float64, **choices):
    model = in_memory(build(architecture, **choices).to(dtype))
    return WeightView(model, dissect(model))


def normal_form(x, norm):
    """The output of a norm for x without its gain and shift."""
    x = x - x.mean(dim=-1, keepdim=True) if norm.centres else x
    return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
def test_folded_reads_give_the_pre_activation(architecture):
    """P30: ŵ·n + b̂ of the normal form n of the stream is the input of the activation function."""
    view = view_of(architecture)
    model, modules = view.loaded.model, dict(view.loaded.model.named_modules())
    caught, hooks = {}, []
    for index, layer in enumerate(view.anatomy.layout.layers):
        norm, up = modules[layer.norm], modules[layer.up[0].projection.module]
        hooks += [
            norm.register_forward_pre_hook(lambda m, a, i=index: caught.update({(i, "stream"): a[0]})),
            up.register_forward_hook(lambda m, a, out, i=index: caught.update({(i, "pre"): out})),
        ]
    with torch.no_grad():
        model(probe_ids(view.loaded))
    for hook in hooks:  # reading the weights would run the hooks too
        hook.remove()
    for index, (layer, weights) in enumerate(zip(view.anatomy.layout.layers, view.layers, strict=True)):
        norm = view.norm(layer.norm, 32)
        up = layer.up[0]
        pre = caught[index, "pre"][..., up.offset :: up.stride][..., : layer.width]
        found = normal_form(caught[index, "stream"], norm) @ weights.read.double().T
        if weights.bias is not None:
            found = found + weights.bias.double()
        torch.testing.assert_close(found, pre, rtol=1e-3, atol=1e-3 * float(pre.abs().max()))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_the_folded_unembedding_gives_the_log_probabilities(architecture):
    """P30, P31: centring over the vocabulary adds a constant to all logits, which log-softmax removes."""
    view = view_of(architecture)
    model, modules = view.loaded.model, dict(view.loaded.model.named_modules())
    caught = {}
    modules[view.anatomy.final_norm].register_forward_pre_hook(lambda m, a: caught.update(stream=a[0]))
    with torch.no_grad():
        expected = model(probe_ids(view.loaded)).logits.log_softmax(-1)
    stream = caught["stream"]
    norm = view.norm(view.anatomy.final_norm, 32)
    weight = view.unembedding_weight.weight
    logits = normal_form(stream, norm) @ view.unembedding.double().T + weight @ norm.shift
    torch.testing.assert_close(logits.log_softmax(-1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "bert"])
def test_weights_behind_layer_norms_are_centred(architecture):
    """P31: folded reads and writes sum to zero over the width."""
    for layer in view_of(architecture).layers:
        for matrix in (layer.read, layer.write):
            assert float(matrix.sum(dim=1).abs().max()) < 1e-4


def test_weights_behind_rms_norms_are_not_centred():
    """An RMSNorm subtracts no mean, so none may be subtracted from the weights."""
    (first, *_) = view_of("llama").layers
    assert float(first.read.sum(dim=1).abs().max()) > 1e-2


def test_the_unembedding_is_centred_over_both_axes():
    """P31: it sums to zero over the width and over the vocabulary."""
    unembedding = view_of("gpt2").unembedding
    assert float(unembedding.sum(dim=0).abs().max()) < 1e-3
    assert float(unembedding.sum(dim=1).abs().max()) < 1e-3


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_a_missing_bias_is_not_a_zero_bias(architecture):
    """A statistic of biases does not apply to a gated model, which has none."""
    view = view_of(architecture)
    assert {layer.bias for layer in view.layers} == {None}
    with pytest.raises(NotApplicable, match="have no input bias"):
        _ = Weights(view).bias


def test_a_masked_language_model_has_no_unembedding():
    """Behind its head, write vectors have no direct effect on the logits."""
    with pytest.raises(NotApplicable, match="BertForMaskedLM has no unembedding behind its last norm"):
        _ = view_of("bert").unembedding


def test_padding_rows_of_the_vocabulary_are_dropped():
    """B12: rows beyond the tokenizer's vocabulary are not tokens."""
    view = view_of("gpt_neox", vocab_size=320)
    assert len(view.unembedding) == len(tokenizer()) == len(view.embedding)


class Gemma(nn.Module):
    """A norm that stores its gain minus one."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


@pytest.mark.parametrize("width", [8, 9])
def test_the_gain_and_shift_of_a_norm_are_found(width):
    """This holds for LayerNorm, RMSNorm and a stored gain minus one, for even and odd widths."""
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


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gain_of_a_norm_in_half_precision_is_found(norm, dtype):
    """Squares of the inputs that are tried are beyond the range of float16."""
    made, gain = norm(64).to(dtype), (0.5 + torch.rand(64)).to(dtype)
    made.load_state_dict({**made.state_dict(), "weight": gain})
    found = probe_norm(made, 64)
    assert found.centres is (norm is nn.LayerNorm)
    assert found.gain.dtype == dtype
    torch.testing.assert_close(found.gain.float(), gain.float(), rtol=2e-2, atol=0)


class Softmax(nn.Module):
    """A module that is called a norm and is none."""

    def forward(self, x):
        return x.softmax(dim=-1)


def test_a_module_that_is_no_norm_cannot_be_folded():
    """The error names the class."""
    with pytest.raises(NotApplicable, match="Softmax is neither a LayerNorm nor an RMSNorm; it cannot be folded"):
        probe_norm(Softmax(), 8)


def test_a_matrix_has_one_orientation():
    """Conv1D stores [input, output] and Linear [output, input]; the matrix of both is the latter."""
    plain, turned = nn.Linear(5, 7), Conv1D(7, 5)
    with torch.no_grad():
        turned.weight.copy_(plain.weight.T)
        turned.bias.copy_(plain.bias)
    for module in (plain, turned):
        found = module_matrix(module, 5)
        torch.testing.assert_close(found.weight, plain.weight)
        torch.testing.assert_close(found.bias, plain.bias)


class Doubled(nn.Linear):
    """A linear layer that multiplies by twice its stored matrix."""

    def forward(self, x):
        return functional.linear(x, 2 * self.weight, self.bias)


@pytest.mark.parametrize("width", [64, 768, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_matrix_of_a_module_gives_its_output(width, dtype):
    """This holds in every precision for square matrices in both orientations, and for one that is not stored."""
    torch.manual_seed(width)
    for module in (nn.Linear(width, width), Conv1D(width, width), Doubled(width, width)):
        nn.init.normal_(module.weight)
        module.to(dtype)
        found = module_matrix(module, width).weight.float()
        x = torch.randn(5, width).to(dtype)
        with torch.no_grad():
            true = (module(x) - module(torch.zeros_like(x))).float()
        torch.testing.assert_close(x.float() @ found.T, true, rtol=0, atol=0.05 * float(true.abs().max()))


def test_weight_statistics_agree_with_an_independent_computation():
    """‖ŵ_in‖, ‖ŵ_out‖, their cosine and b̂ of GPT-2 are computed from the raw tensors in float64 by the paper's formulas
    (Gurnee et al. 2024, appendix A.1).
    """
    view = view_of("gpt2", dtype=torch.float32)
    state = {k: v.double().numpy() for k, v in view.loaded.model.state_dict().items()}
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
    found = Weights(view)
    for name, parts in expected.items():
        np.testing.assert_allclose(getattr(found, name), np.concatenate(parts), rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("exponent", [-80, 70])
def test_norms_of_any_scale_are_right(exponent):
    """Also where the squares of weights are not float32: norms scale along, and cosines stay."""
    view = view_of("gpt2", dtype=torch.float32)
    plain = Weights(view)
    before = plain.read_norm, plain.write_norm, plain.cosine
    with torch.no_grad():
        for name, parameter in view.loaded.model.named_parameters():
            if "mlp" in name:
                parameter.mul_(2.0**exponent)
    scaled = Weights(WeightView(view.loaded, view.anatomy))
    np.testing.assert_allclose(scaled.read_norm, before[0] * 2.0**exponent, rtol=1e-6)
    np.testing.assert_allclose(scaled.write_norm, before[1] * 2.0**exponent, rtol=1e-6)
    np.testing.assert_allclose(scaled.cosine, before[2], rtol=1e-6, atol=1e-9)
