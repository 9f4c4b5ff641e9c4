"""The configuration of a model, and those of its parts that read text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transformers

from pytest_unineuron.errors import ModelError, first_line
from pytest_unineuron.models.loading.gguf import gguf_configuration
from pytest_unineuron.models.loading.source import read_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PretrainedConfig

    from pytest_unineuron.models.loading.source import Source


def load_configuration(source: Source, folder: Path) -> PretrainedConfig:
    """The configuration in a model's folder. Raises ModelError if transformers cannot use it without foreign code."""
    if source.gguf:
        return gguf_configuration(source, folder)
    written = read_configuration(source, folder)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # any architecture checks its configuration in its own way
        if "auto_map" in written:
            raise own_code_error(source, f"model_type {written.get('model_type')!r}") from None
        reason = first_line(error)
        raise ModelError(f"model {source.spec}: its configuration cannot be used: {reason}") from error
    return config


def own_code_error(source: Source, what: str) -> ModelError:
    """The error for a model whose part ``what`` would need code from its own repository (auto_map)."""
    return ModelError(
        f"model {source.spec}: {what} is not part of transformers {transformers.__version__} and its repository's own "
        "code (auto_map) is never run; name a revision or a conversion that transformers can load by itself"
    )


def text_config(config: PretrainedConfig) -> Any:
    """The configuration of the part that reads text; that of the whole model if several parts do."""
    try:
        return config.get_text_config()
    except ValueError:
        return config


def text_configs(config: PretrainedConfig) -> Iterator[Any]:
    """The configurations of all parts that read text; an encoder and a decoder are given the same text."""
    yield config
    yield text_config(config)
    if getattr(config, "is_encoder_decoder", False) or hasattr(config, "text_encoder"):
        for name in ("encoder", "decoder", "text_encoder"):
            part = getattr(config, name, None)
            if isinstance(part, transformers.PretrainedConfig):
                yield text_config(part)
