"""The class of a model: one of transformers' own classes that reads text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transformers

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading.configuration import own_code_error
from pytest_unineuron.models.loading.forward import TEXT_INPUTS, accepted_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig

    from pytest_unineuron.models.loading.source import Source


def model_classes(source: Source, folder: Path, config: PretrainedConfig) -> list[Any]:
    """The class that a checkpoint was saved from, or all classes that may fit it if config.json names none.

    Raises ModelError if the class is not part of transformers, or reads no text.
    """
    architectures = config.architectures or []
    for name in [architectures] if isinstance(architectures, str) else architectures:
        named = getattr(transformers, str(name), None)
        if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
            return [_checked(source, named)]
        if getattr(config, "auto_map", None) or _has_own_code(folder):
            raise own_code_error(source, str(name))
    autos = [
        transformers.AutoModelForMaskedLM,
        transformers.AutoModelForCausalLM,
        transformers.AutoModelForImageTextToText,
        transformers.AutoModel,
    ]
    if getattr(config, "is_encoder_decoder", False):
        autos.insert(0, transformers.AutoModelForSeq2SeqLM)
    found = [auto._model_mapping[type(config)] for auto in autos if type(config) in auto._model_mapping]
    kinds = [kind[0] if isinstance(kind, tuple) else kind for kind in found]
    if not kinds:
        raise ModelError(
            f"model {source.spec}: transformers has no model for model_type {config.model_type!r}; "
            "write the class it was saved from into config.json as architectures"
        )
    return [_checked(source, kind) for kind in kinds]


def _has_own_code(folder: Path) -> bool:
    return any(path.is_file() for path in folder.glob("modeling_*.py"))


def _checked(source: Source, kind: Any) -> Any:
    if accepted_arguments(kind.forward).isdisjoint(TEXT_INPUTS):
        raise ModelError(f"model {source.spec}: {kind.__name__} reads no text; name a language model")
    return kind
