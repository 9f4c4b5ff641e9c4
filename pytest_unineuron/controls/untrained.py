"""N0: the architecture before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.models.loading.devices import to_device_of
from pytest_unineuron.models.loading.load import cast_weights, initialise_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def untrained(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a model of the same configuration, dtype and device with the default initialisation of the library."""
    return to_device_of(cast_weights(initialise_model(type(model), model.config, seed), model.dtype), model).eval()
