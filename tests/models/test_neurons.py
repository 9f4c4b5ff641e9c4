"""Neurons are found by what they do, whatever a model calls them."""

import pytest
import torch
from torch import nn

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.neurons import find_neurons
from pytest_unineuron.models.discovery.trace import trace_forward
from tests.models.tiny import SHAPES, VOCABULARY, build

DOWN = {
    "gpt2": ("transformer.h.{}.mlp.c_proj", False, "gelu_new", "transformer.h.{}.ln_2"),
    "gpt_neox": ("gpt_neox.layers.{}.mlp.dense_4h_to_h", False, "gelu", "gpt_neox.layers.{}.post_attention_layernorm"),
    "llama": ("model.layers.{}.mlp.down_proj", True, "silu", "model.layers.{}.post_attention_layernorm"),
    "phi3": ("model.layers.{}.mlp.down_proj", True, "silu", "model.layers.{}.post_attention_layernorm"),
    "bert": ("bert.encoder.layer.{}.output.dense", False, "gelu", "bert.encoder.layer.{}.attention.output.LayerNorm"),
}
IDS = {"input_ids": torch.randint(1, VOCABULARY, (1, 14), generator=torch.Generator().manual_seed(1))}


def words(model):
    return frozenset(v for v in model.config.to_dict().values() if isinstance(v, str))


def found(architecture, **choices):
    model = build(architecture, **choices)
    return find_neurons(trace_forward(model, IDS), model, words(model))


@pytest.mark.parametrize("architecture", DOWN)
def test_neurons_of_an_architecture(architecture):
    """Every layer, its width, its activation, the norm it reads, and whether it is gated."""
    path, gated, activation, norm = DOWN[architecture]
    layers = found(architecture).layers
    assert [layer.number for layer in layers] == [0, 1]
    assert [layer.down.path for layer in layers] == [path.format(i) for i in (0, 1)]
    assert [layer.norm for layer in layers] == [norm.format(i) for i in (0, 1)]
    assert {(layer.width, layer.gated, layer.activation) for layer in layers} == {(48, gated, activation)}


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_the_activation_acts_on_the_gate(architecture):
    """The first factor is the one that the activation function reads, in separate and in fused layouts."""
    for layer in found(architecture).layers:
        first, second = layer.up
        if architecture == "llama":
            assert first.projection.module.endswith("gate_proj")
            assert second.projection.module.endswith("up_proj")
        else:
            assert (first.projection, first.offset, second.offset) == (second.projection, 0, 48)


WIDTH = {
    "gpt2": {"n_inner": 32},
    "gpt_neox": {"intermediate_size": 32},
    "llama": {"intermediate_size": 32},
    "bert": {"intermediate_size": 32},
}


@pytest.mark.parametrize("architecture", WIDTH)
def test_width_equal_to_the_residual_stream_confuses_nothing(architecture):
    """A shape rule could not tell the output projection of attention from that of the MLP."""
    path = DOWN[architecture][0]
    assert [layer.down.path for layer in found(architecture, **WIDTH[architecture]).layers] == [
        path.format(0),
        path.format(1),
    ]


def test_heads_wider_than_the_stream_confuse_nothing():
    """With head_dim twice as large, attention's output projection looks exactly like an MLP's."""
    layers = found("llama", head_dim=16).layers
    assert [layer.down.path for layer in layers] == ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"]


def test_a_relu_with_dead_units_is_found():
    """Units that are off at every traced token do not hide the layer."""
    layers = found("gpt2", activation_function="relu").layers
    assert {layer.activation for layer in layers} == {"relu"}


def test_bfloat16_is_found():
    """In half precision the structure is the same."""
    model = build("llama").bfloat16()
    assert len(find_neurons(trace_forward(model, IDS), model).layers) == 2


def test_a_model_without_mlp_says_why():
    """Mamba has none: every matmul is listed with the reason."""
    with pytest.raises(NeuronsNotFound, match="no MLP neurons: no matmul's input is made unit by unit"):
        found("mamba")


class Bottleneck(nn.Module):
    """Low rank without an activation: linear, so no neurons."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 16)
        self.norm = nn.LayerNorm(16)
        self.down, self.up = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, input_ids):
        x = self.embed(input_ids)
        return x + self.up(self.down(self.norm(x)))


def test_a_linear_bottleneck_is_not_a_neuron_layer():
    """Its units are linear in what feeds them."""
    model = Bottleneck()
    with pytest.raises(NeuronsNotFound, match="is linear"):
        find_neurons(trace_forward(model, IDS), model)


@pytest.mark.parametrize("architecture", SHAPES)
def test_tracing_leaves_the_model_as_it_was(architecture):
    """No hook, no frozen weight, the same output."""
    model = build(architecture)
    with torch.no_grad():
        before = model(**IDS)[0]
    trace_forward(model, IDS)
    with torch.no_grad():
        torch.testing.assert_close(model(**IDS)[0], before, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_outside_model(minilm):
    """MiniLM: six layers of 1536 neurons."""
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    model = load_model(parse_source(str(minilm))).model
    layout = find_neurons(trace_forward(model, {"input_ids": torch.randint(1000, 2000, (1, 14))}), model)
    assert [(layer.width, layer.number) for layer in layout.layers] == [(1536, layer) for layer in range(6)]
