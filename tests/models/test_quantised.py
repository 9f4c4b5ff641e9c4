"""Quantised linears: their modules are cut and hooked as they are, whatever they do inside."""

import pytest
import torch
from torch import nn

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.tiny import build
from tools.architectures.examine import _Tokens


class RowLinear8(nn.Module):
    """Weights in eight bits with a scale per row, unpacked out of autograd's sight at every call."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.detach().abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("packed", (linear.weight.detach() / scale).round().to(torch.int8))
        self.bias = linear.bias

    def forward(self, x):
        weight = torch.from_numpy(self.packed.numpy().astype("float32") * self.scale.numpy())
        y = x @ weight.T
        return y if self.bias is None else y + self.bias


class RoundingLinear8(RowLinear8):
    """What it is given is rounded too, to a hundredth: no product any more."""

    def forward(self, x):
        return super().forward((x * 100).round() / 100)


def quantised(kind, architecture="llama"):
    model = build(architecture)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and path != "lm_head":
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, kind(module))
    return LoadedModel(model, _Tokens(), "", None)


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gpt_neox"])
def test_a_linear_that_unpacks_its_weights(architecture):
    """Found, verified, and its matrix read by replaying it."""
    model = quantised(RowLinear8, architecture)
    plain = dissect(LoadedModel(build(architecture), _Tokens(), "", None))
    found = dissect(model)
    assert [(s.down.module, s.width, s.gate_layout, s.norm) for s in found.layout.layers] == [
        (s.down.module, s.width, s.gate_layout, s.norm) for s in plain.layout.layers
    ]
    verify(model.model, found.layout, probe_ids(model, rows=2))
    unpacked = WeightView(LoadedModel(build(architecture), _Tokens(), "", None), plain).layers
    for layer, expected in zip(WeightView(model, found).layers, unpacked, strict=True):
        torch.testing.assert_close(layer.write, expected.write, rtol=0, atol=0.02 * float(expected.write.abs().max()))


def test_what_is_rounded_on_its_way_is_no_product():
    """The identities say by how much, unless it is within what quantised models are allowed."""
    model = quantised(RoundingLinear8)
    with pytest.raises(NeuronsNotFound, match=r"fails by .* of the largest value \(allowed 0.001\)"):
        verify(model.model, dissect(model).layout, probe_ids(model, rows=2))
    model.model.is_quantized = True
    verify(model.model, dissect(model).layout, probe_ids(model, rows=2))


@pytest.mark.parametrize("weights", ["qint8", "qint4"])
def test_quanto(weights):
    """Tensors of a kind of its own, that lie nowhere in memory."""
    quanto = pytest.importorskip("optimum.quanto", reason="optimum-quanto is not installed")
    model = build("llama")
    quanto.quantize(model, weights=getattr(quanto, weights))
    quanto.freeze(model)
    loaded = LoadedModel(model, _Tokens(), "", None)
    layout = dissect(loaded).layout
    assert [layer.number for layer in layout.layers] == [0, 1]
    verify(model, layout, probe_ids(loaded, rows=2))


def test_torchao():
    """The same of another library."""
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    model = build("llama")
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    loaded = LoadedModel(model, _Tokens(), "", None)
    layout = dissect(loaded).layout
    assert [layer.number for layer in layout.layers] == [0, 1]
    verify(model, layout, probe_ids(loaded, rows=2))
