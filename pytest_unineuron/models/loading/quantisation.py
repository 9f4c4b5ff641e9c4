"""Quantised weights: how a configuration says that they are, and the plain ones that they stand for."""

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
    """How weights are quantised, as config.json says it; empty if they are not."""
    asked = getattr(config, "quantization_config", None) or getattr(text_config(config), "quantization_config", None)
    return asked if isinstance(asked, dict) else {}


def request_plain_weights(source: Source, config: PretrainedConfig) -> None:
    """Ask for plain weights where transformers can make them out of quantised ones; the others stay as they are."""
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
    """What transformers calls the way in which weights are quantised."""
    for bits in ("4bit", "8bit"):
        if asked.get(f"load_in_{bits}"):
            return f"bitsandbytes_{bits}"
    return str(asked.get("quant_method") or "")
