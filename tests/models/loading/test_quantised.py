"""Quantised models: they are loaded as plain weights if possible, or an error names the library that they need.

Neurons are also found in layers that unpack their weights without autograd.
"""

import shutil
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pytest_unineuron.controls.reinitialised import reinitialised
from pytest_unineuron.controls.shuffled import shuffled
from pytest_unineuron.errors import ModelError, NeuronsNotFound, NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.weights.weight_view import WeightView
from tests.models.checkpoints import change_json, change_weights, load
from tests.models.tiny import build, in_memory


def test_fp8_weights_are_loaded_as_plain_weights(llama):
    """The library dequantises blocks of eight bit floats, given accelerate."""
    pytest.importorskip("accelerate")
    plain = load_file(llama / "model.safetensors")
    linear = [name for name in plain if name.endswith("_proj.weight")]

    def quantise(state):
        for name in linear:
            scale = state[name].abs().max() / 448
            state[name] = (state[name] / scale).to(torch.float8_e4m3fn)
            state[name.replace(".weight", ".weight_scale_inv")] = scale.reshape(1, 1)

    change_weights(llama, quantise)
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    change_json(llama / "config.json", quantization_config=settings)
    found = load(llama)
    for name in linear:
        weight = found.model.get_parameter(name)
        assert weight.dtype == torch.float32
        assert torch.allclose(weight, plain[name], atol=0.07 * float(plain[name].abs().max()))
        assert not torch.equal(weight, plain[name])
    verify(found.model, dissect(found).layout, probe_ids(found, rows=2))


def test_mxfp4_weights_are_loaded_as_plain_weights(saved, tmp_path):
    """The experts of gpt-oss are stored as two values a byte with an exponent for every 32."""
    pytest.importorskip("accelerate")
    folder = shutil.copytree(saved("causal", "gpt_oss")[0], tmp_path / "packed")
    names = {f"model.layers.{layer}.mlp.experts.{part}_proj" for layer in (0, 1) for part in ("gate_up", "down")}

    def quantise(state):
        for name in names:
            experts, inputs, outputs = state.pop(name).shape
            shape = (experts, outputs, inputs // 32)
            state[f"{name}_blocks"] = torch.full((*shape, 16), 0x2A, dtype=torch.uint8)  # the codes of -1 and 1
            state[f"{name}_scales"] = torch.full(shape, 124, dtype=torch.uint8)  # 2 ** (124 - 127)

    change_weights(folder, quantise)
    change_json(folder / "config.json", quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": []})
    found = load(folder)
    for name in names:
        weight = found.model.get_parameter(name)
        assert weight.dtype == torch.float32
        assert weight.unique().tolist() == [-0.125, 0.125]


@pytest.mark.parametrize(
    ("method", "module", "library"),
    [
        ("bitsandbytes", "bitsandbytes", "pip install (-U bitsandbytes|'accelerate)"),
        ("gptq", "gptqmodel", "pip install (optimum|gptqmodel)"),
        ("awq", "gptqmodel", "pip install gptqmodel"),
        ("quanto", "optimum", "pip install optimum-quanto"),
        ("torchao", "torchao", "torchao"),
        ("compressed-tensors", "compressed_tensors", "pip install compressed-tensors"),
        ("hqq", "hqq", "HQQ"),
    ],
)
def test_a_quantised_model_names_the_library_that_it_needs(llama, method, module, library):
    """An untrained model of the same configuration needs no library."""
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    settings = {"quant_method": method, "bits": 4, "group_size": 128}
    settings |= {"load_in_4bit": True} if method == "bitsandbytes" else {}
    settings = {"quant_method": "torchao", "quant_type": "int8wo"} if method == "torchao" else settings
    change_json(llama / "config.json", quantization_config=settings)
    words = rf"it is quantised \({method}.*\) and cannot be loaded here: .*{library}.*or a model that is not quantised"
    with pytest.raises(ModelError, match=words):
        load(llama)
    assert load(f"untrained:{llama}").model.dtype == torch.float32


@pytest.mark.parametrize("settings", [{"quant_method": "marlin"}, {"bits": 4}])
def test_an_unknown_method_of_quantisation_is_an_error(llama, settings):
    """The library would give a warning and load integers as if they were weights."""
    change_json(llama / "config.json", quantization_config=settings)
    words = r"quantised in a way that transformers .* does not know \((marlin|no quant_method)"
    with pytest.raises(ModelError, match=words):
        load(llama)


class RowLinear8(nn.Module):
    """A linear layer with eight bit weights and a scale per row, which are unpacked without autograd at every call."""

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
    """A layer that also rounds its input to a hundredth, so that it is no product any more."""

    def forward(self, x):
        return super().forward((x * 100).round() / 100)


def quantised(kind, architecture="llama"):
    model = build(architecture)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and path != "lm_head":
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, kind(module))
    return in_memory(model)


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gpt_neox"])
def test_neurons_are_found_behind_linear_layers_that_unpack_their_weights(architecture):
    """The layers are those of the plain model, and their weights differ by the rounding alone."""
    model, plain = quantised(RowLinear8, architecture), in_memory(build(architecture))
    found, expected = dissect(model), dissect(plain)
    described = [
        [(layer.down.module, layer.width, layer.gated, layer.norm) for layer in anatomy.layout.layers]
        for anatomy in (found, expected)
    ]
    assert described[0] == described[1]
    verify(model.model, found.layout, probe_ids(model, rows=2))
    for one, two in zip(WeightView(model, found).layers, WeightView(plain, expected).layers, strict=True):
        torch.testing.assert_close(one.write, two.write, rtol=0, atol=0.02 * float(two.write.abs().max()))


def test_a_layer_that_rounds_its_input_is_no_product():
    """The identity fails, unless the error is within the tolerance for models that are declared as quantised."""
    model = quantised(RoundingLinear8)
    with pytest.raises(NeuronsNotFound, match=r"fails by .* of the largest value \(allowed 0.001\)"):
        verify(model.model, dissect(model).layout, probe_ids(model, rows=2))
    model.model.is_quantized = True
    verify(model.model, dissect(model).layout, probe_ids(model, rows=2))


def quanto(weights):
    library = pytest.importorskip("optimum.quanto", reason="optimum-quanto is not installed")
    model = build("llama")
    library.quantize(model, weights=getattr(library, weights))
    library.freeze(model)
    return model


def torchao():
    library = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    model = build("llama")
    library.quantize_(model, library.Int8WeightOnlyConfig())
    return model


@pytest.mark.parametrize("make", [lambda: quanto("qint8"), lambda: quanto("qint4"), torchao])
def test_neurons_are_found_in_quantised_tensors_of_other_libraries(make):
    """Their tensors are of classes of their own and have no memory address."""
    loaded = in_memory(make())
    layout = dissect(loaded).layout
    assert [layer.number for layer in layout.layers] == [0, 1]
    verify(loaded.model, layout, probe_ids(loaded, rows=2))


@pytest.mark.parametrize("control", [reinitialised, shuffled])
def test_no_null_is_made_of_packed_weights(control):
    """They are buffers, or codes: what is left of the trained model would be called a null."""
    with pytest.raises(NotApplicable, match="packed into integers"):
        control(quantised(RowLinear8).model, 0)
    control(build("llama"), 0)
