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
_ADAPTER = re.compile(r"lora_|ia3_l|oft_R|prompt_embeddings|^base_model\.")
_BUFFER = re.compile(
    r"(inv_freq|(cos|sin)_cached|position_ids|embed_positions|relative_position_index|causal_mask|attn_mask|_scale"
    r"|(attn|attention)\.(masked_)?bias)$"
)
"""Masks, positions and scales of activations in the layers, which older versions of a class stored."""
UNUSED_MODULES = ("pooler",)
"""Modules behind the last layer that many checkpoints lack; no measurement reads them."""

_FURTHER_LAYERS = "of layers that its config.json does not have ({name}, …); fetch both from the same revision"
_OF_AN_ADAPTER = (
    "of an adapter ({name}, …) that would be ignored; merge it into the model (peft: merge_and_unload) and save that "
    "with save_pretrained"
)
_IN_LAYERS = (
    "in its layers ({name}, …) that {kind} would ignore; merge an adapter into its model (peft: merge_and_unload), or "
    "name the class that has them in config.json (architectures)"
)


def load_weights(
    source: Source, folder: Path, config: PretrainedConfig, kinds: Sequence[Any], *, dtype: torch.dtype, device: str
) -> PreTrainedModel:
    """The model, of the first of the classes ``kinds`` whose weights are all in the files.

    Raises ModelError if there is none, if the files cannot be read, or if they hold weights that the model ignores.
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
    """Raise ModelError for tensors of the files that are a further layer, an adapter's, or weights in a layer.

    Others are the heads and poolers of other classes, and buffers, which many files hold. Names count without the
    prefix that a class with a head puts before those of its base model.
    """
    known = {_kind_of(model, name) for name in model.state_dict()}
    stacks = {kind.partition(".N.")[0] for kind in known if ".N." in kind}
    kinds = {name: _kind_of(model, name) for name in names}
    inside = [name for name, kind in kinds.items() if ".N." in kind and kind.partition(".N.")[0] in stacks]
    for found, what in (
        ([name for name, kind in kinds.items() if kind in known], _FURTHER_LAYERS),
        ([name for name in names if _ADAPTER.search(name)], _OF_AN_ADAPTER),
        ([name for name in inside if not _BUFFER.search(name)], _IN_LAYERS),
    ):
        if found:
            left = what.format(name=found[0], kind=type(model).__name__)
            raise ModelError(f"model {source.spec}: its weight files hold {len(found)} tensors {left}")


def _kind_of(model: PreTrainedModel, name: str) -> str:
    """The name of a tensor without the numbers of its layers, and without the prefix of the base model."""
    return _NUMBER.sub("N", name.removeprefix(f"{model.base_model_prefix}."))


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
