"""The units of a model on a batch: neurons before or after their activation function, and heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_unineuron.errors import ModelError
from pytest_unineuron.statistics import PRE
from pytest_unineuron.universality.kinds import HEADS, NEURONS
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import build
from tests.universality.comparing import compared_model, shared_model, units


def test_neurons_before_the_activation_function_are_those_of_a_sweep(batches, blocks):
    """Their means are those of the pre-activations, and not those of the neurons after it."""
    before = replace(shared_model(), site=PRE)
    sweep_result = sweep_blocks(before.model, before.anatomy.layout, blocks, batch=1024)
    mean = units(before, batches, NEURONS).mean(0)
    np.testing.assert_allclose(mean, sweep_result.total(PRE, "moments").mean.numpy(), atol=1e-6)
    assert np.abs(units(shared_model(), batches, NEURONS).mean(0) - mean).max() > 0.05


def test_activations_that_are_not_finite_are_an_error(batches):
    """The message names the option to try."""
    model = build("gpt_neox")
    subject = compared_model(model)
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_h_to_4h.bias[0] = float("inf")
    with pytest.raises(ModelError, match=r"activations of .* are not finite; try --unineuron-dtype float32"):
        subject.observe(batches[0])


@pytest.mark.parametrize("exponent", [0, -80])
def test_the_units_of_heads_are_the_norms_of_what_they_write(batches, exponent):
    """‖W_O z‖ without its mean over the rows at a position, also where squares are not float32."""
    model = build("gpt2")
    attention = model.transformer.h[0].attn
    with torch.no_grad():
        attention.c_proj.weight.mul_(2.0**exponent)
        attention.c_proj.bias.zero_()  # beside which such weights would be nothing
    caught = []
    hook = attention.c_proj.register_forward_pre_hook(lambda module, arguments: caught.append(arguments[0]))
    batch = batches[0]
    with torch.no_grad():
        model(batch.ids, attention_mask=batch.attention_mask)
    hook.remove()
    by_head = caught[0].double().unflatten(-1, (4, 8))  # [row, position, head, value]
    weight = attention.c_proj.weight.detach().double().unflatten(0, (4, 8))  # [head, value, width]
    norms = torch.einsum("rphv,hvw->rphw", by_head, weight).norm(dim=-1)
    mask = batch.attention_mask.double()[..., None]
    expected = (norms - (norms * mask).sum(0) / mask.sum(0).clamp_min(1))[batch.comparison_mask.bool()]
    found = compared_model(model).observe(batch, [HEADS])[HEADS][:, :4].double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(norms.max()))
