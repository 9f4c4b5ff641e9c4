"""N0: the architecture before training."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pytest_unineuron.models.loading.devices import to_device_of
from pytest_unineuron.models.loading.load import cast_weights, initialise_model

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def untrained(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a model of the same configuration, dtype and device with the default initialisation of the library.

    Its unembedding is tied only if that of the model is: a checkpoint with two matrices is loaded with both.
    """
    config = model.config if _is_tied(model) else _untied(model.config)
    return to_device_of(cast_weights(initialise_model(type(model), config, seed), model.dtype), model).eval()


def _untied(config: PretrainedConfig) -> PretrainedConfig:
    """A copy of a configuration that ties no unembedding."""
    twin = copy.deepcopy(config)
    for part in (twin, twin.get_text_config()):
        part.tie_word_embeddings = False
    return twin


def _is_tied(model: PreTrainedModel) -> bool:
    """Whether the unembedding is the embedding; a model without an unembedding is left as it is."""
    embedding, unembedding = (
        getattr(end(), "weight", None) for end in (model.get_input_embeddings, model.get_output_embeddings)
    )
    return embedding is None or unembedding is None or embedding.data_ptr() == unembedding.data_ptr()
