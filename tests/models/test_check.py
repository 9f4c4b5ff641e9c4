"""A layout that is wrong is noticed on load."""

from dataclasses import replace

import pytest
import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.layout import NeuronLayout
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.loading.load import LoadedModel
from tests.models.tiny import build, tokenizer


def loaded(architecture="gpt2", dtype=torch.float32):
    return LoadedModel(build(architecture).to(dtype), tokenizer(), "", None)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_found_is_confirmed(architecture, dtype):
    """Widths, both products, and the effect of a zeroed neuron."""
    model = loaded(architecture, dtype)
    verify(model.model, dissect(model).layout, probe_ids(model, rows=2))


def test_a_wrong_width_is_noticed():
    """The layer reads another number of units than the plan says."""
    model = loaded()
    anatomy = dissect(model)
    wrong = replace(anatomy, layout=NeuronLayout(tuple(replace(s, width=s.width - 1) for s in anatomy.layout.layers)))
    with pytest.raises(NeuronsNotFound, match="reads 48 units, the layout says 47"):
        verify(model.model, wrong.layout, probe_ids(model, rows=2))


def test_neurons_without_effect_are_noticed():
    """A projection whose output nobody reads moves nothing."""
    model = loaded()
    anatomy = dissect(model)
    for block in model.model.transformer.h:
        block.mlp.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    with pytest.raises(NeuronsNotFound, match="does not move the output of the model"):
        verify(model.model, anatomy.layout, probe_ids(model, rows=2))


def test_a_projection_that_is_not_linear_is_noticed():
    """The weights that were read are not the weights that act."""
    model = loaded()
    anatomy = dissect(model)
    model.model.transformer.h[0].mlp.c_proj.register_forward_hook(lambda module, args, output: output.abs() * output)
    with pytest.raises(NeuronsNotFound, match=r"layer 0: .* W_out h \+ b = output fails by"):
        verify(model.model, anatomy.layout, probe_ids(model, rows=2))
