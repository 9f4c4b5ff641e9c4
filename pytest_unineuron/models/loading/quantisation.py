"""Quantised weights: how a configuration declares them, and how they are loaded as plain weights."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import transformers
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading.configuration import text_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from pytest_unineuron.models.loading.source import Source


def quantisation_settings(config: PretrainedConfig) -> dict[str, Any]:
    """The quantisation settings in config.json; empty for a model that is not quantised."""
    asked = getattr(config, "quantization_config", None) or getattr(text_config(config), "quantization_config", None)
    return asked if isinstance(asked, dict) else {}


def request_plain_weights(source: Source, config: PretrainedConfig) -> None:
    """Change a configuration so that quantised weights are loaded as plain ones, where transformers can do that.

    Raises ModelError for a method of quantisation that transformers does not know.
    """
    asked = quantisation_settings(config)
    if not asked:
        return
    kind = AUTO_QUANTIZATION_CONFIG_MAPPING.get(quantisation_method(asked))
    if kind is None:
        raise ModelError(
            f"model {source.spec}: it is quantised in a way that transformers {transformers.__version__} does not "
            f"know ({quantisation_method(asked) or 'no quant_method'}); name a revision or a model that is not "
            "quantised"
        )
    if "dequantize" in inspect.signature(kind).parameters:
        asked["dequantize"] = True


def quantisation_method(asked: dict[str, Any]) -> str:
    """The name of the method of quantisation in transformers."""
    for bits in ("4bit", "8bit"):
        if asked.get(f"load_in_{bits}"):
            return f"bitsandbytes_{bits}"
    return str(asked.get("quant_method") or "")
