"""A wrong layout, and weights that are not the weights that act, are noticed when a model is loaded."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.layout import NeuronLayout
from pytest_unineuron.models.discovery.verification import ROWS_ARE_TOKENS, verify
from tests.models.tiny import build, in_memory


def check(model, layout=None):
    loaded = in_memory(model)
    return verify(model, layout or dissect(loaded).layout, probe_ids(loaded, rows=2))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_right_layout_is_verified(architecture, dtype):
    """Widths, both products, the activation, the rows, and the effect of a zeroed neuron are as they should."""
    check(build(architecture).to(dtype))


def test_a_wrong_width_is_noticed():
    """The output projection reads another number of units than the layout says."""
    model = build("gpt2")
    layers = dissect(in_memory(model)).layout.layers
    wrong = NeuronLayout(tuple(replace(layer, width=layer.width - 1) for layer in layers))
    with pytest.raises(NeuronsNotFound, match="reads 48 units, the layout says 47"):
        check(model, wrong)


def test_neurons_without_effect_are_noticed():
    """A projection whose output is not used has no neurons."""
    model = build("gpt2")
    layout = dissect(in_memory(model)).layout
    for block in model.transformer.h:
        block.mlp.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    with pytest.raises(NeuronsNotFound, match="does not move the output of the model"):
        check(model, layout)


def test_a_projection_that_is_not_linear_is_noticed():
    """The weights that were read do not give its output."""
    model = build("gpt2")
    layout = dissect(in_memory(model)).layout
    model.transformer.h[0].mlp.c_proj.register_forward_hook(lambda module, args, output: output.abs() * output)
    with pytest.raises(NeuronsNotFound, match=r"layer 0: .* W_out h \+ b = output fails by"):
        check(model, layout)


class Transposed(nn.Module):
    """An MLP that reads a batch position by position, so that only the order of its rows is unusual."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        rows, positions, width = x.shape
        return self.mlp(x.transpose(0, 1).reshape(-1, width)).view(positions, rows, width).transpose(0, 1)


@pytest.mark.parametrize("sink", [1.0, 1000.0])
def test_rows_in_another_order_are_noticed(sink):
    """This holds also if one token is a thousand times larger than all others."""
    model = build("gpt2")
    for block in model.transformer.h:
        block.mlp = Transposed(block.mlp)
    with torch.no_grad():
        model.transformer.wpe.weight[0] *= sink
    with pytest.raises(NeuronsNotFound, match=ROWS_ARE_TOKENS):
        check(model)


def test_the_layout_of_another_model_is_an_error_that_leaves_no_hooks():
    """The error names the module that the model lacks."""
    model = build("llama")
    with pytest.raises(NeuronsNotFound, match=r"LlamaForCausalLM has no .*: this is the layout of another model"):
        check(model, dissect(in_memory(build("phi3"))).layout)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
