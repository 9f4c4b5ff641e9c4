"""The devices of a model: one, or several with some blocks each."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

DEVICE_KINDS = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla")
"""The kinds of devices of torch on which a model can run."""
SPREAD_MODES = ("balanced", "sequential")
"""The device maps of accelerate that spread the blocks of a model over all GPUs."""


def device_map_arguments(device: str) -> dict[str, Any]:
    """The arguments of ``from_pretrained`` that make it read weights straight onto a device, or onto several.

    Without accelerate there are none: weights are read into the memory of the machine first.
    """
    return {"device_map": device} if device != "cpu" and find_spec("accelerate") is not None else {}


def move_to_device(model: PreTrainedModel, device: str) -> PreTrainedModel:
    """The model on a device, or spread over several unless it was loaded onto them."""
    if device not in SPREAD_MODES:
        return model.to(device)
    if _device_map(model):
        return model
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = list(getattr(model, "_no_split_modules", None) or ())
    memory = None if device == "sequential" else get_balanced_memory(model, no_split_module_classes=whole)
    return _dispatch(model, infer_auto_device_map(model, memory, no_split_module_classes=whole))


def to_device_of(model: PreTrainedModel, other: PreTrainedModel) -> PreTrainedModel:
    """The model on the device or devices of another model with the same modules."""
    parts = _device_map(other)
    return _dispatch(model, parts) if len({*parts.values()}) > 1 else model.to(other.device)


def _device_map(model: PreTrainedModel) -> Mapping[str, Any]:
    """The device of every part of a model with a device map; empty for any other model."""
    return getattr(model, "hf_device_map", None) or {}


def _dispatch(model: PreTrainedModel, parts: Mapping[str, Any]) -> PreTrainedModel:
    from accelerate import dispatch_model

    made: PreTrainedModel = dispatch_model(model, dict(parts))
    return made
