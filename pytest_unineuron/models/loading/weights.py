"""Building a model and reading its weights from its files, tensor by tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ModelError, first_line
from pytest_unineuron.models.loading.devices import device_map_arguments
from pytest_unineuron.models.loading.gguf import gguf_arguments
from pytest_unineuron.models.loading.quantisation import quantisation_method, quantisation_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from pytest_unineuron.models.loading.source import Source

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
UNUSED_MODULES = ("pooler",)
"""Modules behind the last layer that many checkpoints lack; no measurement reads them."""


def load_weights(
    source: Source, folder: Path, config: PretrainedConfig, kinds: Sequence[Any], *, dtype: torch.dtype, device: str
) -> PreTrainedModel:
    """The model, of the first of the classes ``kinds`` whose weights are all in the files.

    Raises ModelError if there is none, if the files cannot be read, or if they hold more layers than the model has.
    """
    missing: list[str] = []
    for kind in kinds:
        try:
            model, info = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **device_map_arguments(device),
                **gguf_arguments(source, weights=True),
            )
        except Exception as error:  # damaged files and missing libraries make loaders raise errors of any class
            raise ModelError(f"model {source.spec}: {_why_not(config, kind, error)}") from error
        if wrong := sorted(info["mismatched_keys"]):
            name, found, expected = wrong[0]
            raise ModelError(
                f"model {source.spec}: {len(wrong)} tensors in its files have another shape than its config.json "
                f"says ({name}: {tuple(found)}, not {tuple(expected)}); fetch both from the same revision"
            )
        missing = sorted(key for key in info["missing_keys"] if not any(word in key for word in UNUSED_MODULES))
        if not missing:
            _check_left_over(source, model, sorted(info["unexpected_keys"]))
            return model
        del model
    raise ModelError(
        f"model {source.spec}: the weight files lack {len(missing)} tensors ({', '.join(missing[:3])}, …); "
        "missing weights would be random"
    )


def _check_left_over(source: Source, model: PreTrainedModel, names: Sequence[str]) -> None:
    """Raise ModelError for tensors of the files that are a further layer of the model, or an adapter's.

    Others are the heads and buffers of other classes, which many files hold.
    """
    kinds = {_NUMBER.sub("N", name) for name in model.state_dict()}
    layers = [name for name in names if _NUMBER.sub("N", name) in kinds]
    adapters = [name for name in names if "lora_" in name]
    if layers:
        raise ModelError(
            f"model {source.spec}: its weight files hold {len(layers)} tensors of layers that its config.json does not "
            f"have ({layers[0]}, …); fetch both from the same revision"
        )
    if adapters:
        raise ModelError(
            f"model {source.spec}: its weight files hold {len(adapters)} tensors of an adapter ({adapters[0]}, …) that "
            "would be ignored; merge it into the model (peft: merge_and_unload) and save that with save_pretrained"
        )


def _why_not(config: PretrainedConfig, kind: Any, error: Exception) -> str:
    if kind.config_class is not None and not isinstance(config, kind.config_class):
        return f"{kind.__name__} (architectures) is no class for model_type {config.model_type!r}; correct config.json"
    asked = quantisation_settings(config)
    if not asked:
        return f"its weights cannot be loaded: {first_line(error)}"
    return (
        f"it is quantised ({quantisation_method(asked)}) and cannot be loaded here: {first_line(error)}; install what "
        "is missing, or name a revision or a model that is not quantised"
    )
