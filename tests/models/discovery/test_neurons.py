"""Neurons are found by what they compute, under any name, or at the paths that a user names."""

import pytest
import torch
from torch import nn

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.neurons import find_neurons
from pytest_unineuron.models.discovery.trace import trace_forward
from pytest_unineuron.models.discovery.verification import verify
from tests.models.checkpoints import load
from tests.models.tiny import SHAPES, VOCABULARY, build, shrunk

EXPECTED = {
    "gpt2": ("transformer.h.{}.mlp.c_proj", False, "gelu_new", "transformer.h.{}.ln_2"),
    "gpt_neox": ("gpt_neox.layers.{}.mlp.dense_4h_to_h", False, "gelu", "gpt_neox.layers.{}.post_attention_layernorm"),
    "llama": ("model.layers.{}.mlp.down_proj", True, "silu", "model.layers.{}.post_attention_layernorm"),
    "phi3": ("model.layers.{}.mlp.down_proj", True, "silu", "model.layers.{}.post_attention_layernorm"),
    "bert": ("bert.encoder.layer.{}.output.dense", False, "gelu", "bert.encoder.layer.{}.attention.output.LayerNorm"),
}
IDS = {"input_ids": torch.randint(1, VOCABULARY, (1, 14), generator=torch.Generator().manual_seed(1))}


def layers_of(architecture, **choices):
    model = build(architecture, **choices)
    words = frozenset(value for value in model.config.to_dict().values() if isinstance(value, str))
    return find_neurons(trace_forward(model, IDS), model, words).layers


@pytest.mark.parametrize("architecture", EXPECTED)
def test_every_layer_of_an_architecture_is_found(architecture):
    """Its width, its activation function, the norm that it reads, and whether it is gated are right."""
    path, gated, activation, norm = EXPECTED[architecture]
    layers = layers_of(architecture)
    assert [(layer.number, layer.down.path, layer.norm) for layer in layers] == [
        (i, path.format(i), norm.format(i)) for i in (0, 1)
    ]
    assert {(layer.width, layer.gated, layer.activation) for layer in layers} == {(48, gated, activation)}


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_the_first_factor_is_the_gate(architecture):
    """The activation function acts on it, whether gate and up are separate projections or one."""
    for layer in layers_of(architecture):
        first, second = layer.up
        if architecture == "llama":
            assert first.projection.module.endswith("gate_proj")
            assert second.projection.module.endswith("up_proj")
        else:
            assert (first.projection, first.offset, second.offset) == (second.projection, 0, 48)


def test_a_layer_with_dead_units_is_found():
    """Units that are off at every traced token do not hide the other units."""
    assert {layer.activation for layer in layers_of("gpt2", activation_function="relu")} == {"relu"}


def test_a_model_without_mlps_is_an_error():
    """Mamba has none; the error names the reason for every matmul. Torch has as many threads as before."""
    threads = torch.get_num_threads()
    with pytest.raises(NeuronsNotFound, match="no MLP neurons: no matmul's input is made unit by unit"):
        dissect(shrunk("causal", "mamba"))
    assert torch.get_num_threads() == threads


class Bottleneck(nn.Module):
    """A low-rank layer without an activation function."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 16)
        self.norm = nn.LayerNorm(16)
        self.down, self.up = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, input_ids):
        x = self.embed(input_ids)
        return x + self.up(self.down(self.norm(x)))


def test_a_linear_bottleneck_has_no_neurons():
    """Its units are linear in their inputs."""
    model = Bottleneck()
    with pytest.raises(NeuronsNotFound, match="is linear"):
        find_neurons(trace_forward(model, IDS), model)


@pytest.mark.parametrize("architecture", SHAPES)
def test_tracing_does_not_change_a_model(architecture):
    """Its output is the same, it has no hooks, and its weights still have gradients."""
    model = build(architecture)
    with torch.no_grad():
        before = model(**IDS)[0]
    trace_forward(model, IDS)
    with torch.no_grad():
        torch.testing.assert_close(model(**IDS)[0], before, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_neurons_of_a_real_encoder_are_found(minilm):
    """MiniLM has six layers of 1536 neurons."""
    model = load(minilm).model
    layout = find_neurons(trace_forward(model, {"input_ids": torch.randint(1000, 2000, (1, 14))}), model)
    assert [(layer.width, layer.number) for layer in layout.layers] == [(1536, number) for number in range(6)]


@pytest.mark.parametrize(
    ("mapping", "model_type", "pattern", "expected"),
    [
        ("seq2seq", "bart", "model.encoder.layers.*.fc2", [f"model.encoder.layers.{i}.fc2" for i in (0, 1)]),
        ("causal", "gpt2", "*.mlp.c_proj", [f"transformer.h.{i}.mlp.c_proj" for i in (0, 1)]),
        ("masked", "xmod", "*.output.dense", [f"roberta.encoder.layer.{i}.output.dense" for i in (0, 1)]),
    ],
)
def test_a_pattern_chooses_neurons(mapping, model_type, pattern, expected):
    """It can choose one stack of two, or one kind of MLP of two."""
    model = shrunk(mapping, model_type)
    layout = dissect(model, pattern).layout
    assert [layer.down.module for layer in layout.layers] == expected
    verify(model.model, layout, probe_ids(model, rows=2))


def test_neurons_of_a_head_are_refused():
    """No pass over a text runs the head, so nothing could be measured of them."""
    model = shrunk("masked", "ultrabert")
    layout = dissect(model, "head.linear2").layout
    with pytest.raises(NeuronsNotFound, match="none of the neuron layers in the layout ran"):
        verify(model.model, layout, probe_ids(model, rows=2))


def test_a_pattern_chooses_experts_by_their_parameter():
    """The path of the shared tensor chooses all experts of a layer."""
    layout = dissect(shrunk("causal", "mixtral"), "model.layers.1.mlp.experts.down_proj").layout
    assert [(layer.number, layer.expert) for layer in layout.layers] == [(1, expert) for expert in range(4)]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*.attn.c_proj", r"no MLP neurons at '\*.attn.c_proj' \(2 × reads a mix\)"),
        ("*.mlp.c_fc", r"no MLP neurons at '\*.mlp.c_fc' \(2 × reads a norm\)"),
        ("layers.*", r"no MLP neurons at 'layers.\*' \(there are transformer.h.#.attn.c_attn, transformer"),
    ],
)
def test_a_pattern_that_chooses_no_neurons_is_an_error(pattern, words):
    """The error says what the chosen matmuls read, or which paths there are."""
    with pytest.raises(NeuronsNotFound, match=words):
        dissect(shrunk("causal", "gpt2"), pattern)
