"""N7: the weights of another training seed, in which a number does not name the same neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def other_seed(model: PreTrainedModel, seed: PreTrainedModel) -> PreTrainedModel:
    """Return the model of another seed. Raises NotApplicable unless its parameters have the shapes of ``model``."""
    shapes = [{name: value.shape for name, value in each.named_parameters()} for each in (model, seed)]
    if shapes[0] != shapes[1]:
        raise NotApplicable(
            "the further seed has other shapes than the model, so it cannot be read by the same numbers"
        )
    return seed
