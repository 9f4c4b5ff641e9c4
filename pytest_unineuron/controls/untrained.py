"""N0: the same architecture before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.models.loading.load import cast, initialised
from pytest_unineuron.models.loading.place import beside

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def untrained(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same configuration with the library's default initialisation, drawn from ``seed``."""
    return beside(cast(initialised(type(model), model.config, seed), model.dtype), model).eval()
