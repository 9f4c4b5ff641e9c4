"""Builds a tiny random model of every architecture that transformers can load as a language model.

The configuration is the default of the architecture with other sizes, chosen by the names of its attributes
(``sizes.py``), so that most new architectures work too. Attributes whose names are not enough have a row with a reason
in ``exceptions.csv``.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tools.architectures.exceptions import exceptions_for
from tools.architectures.sizes import (
    DEFAULT,
    VOCABULARY,
    TinyShape,
    is_kv_count,
    is_layer_count,
    resolve_size,
    tiny_size,
)
from tools.architectures.weights import redraw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

MAPPINGS = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
"""The name of the class, or names of the classes, of each model type, by mapping of transformers."""

IMAGE_TEXT = "image-text"
HELD_OUT = {
    IMAGE_TEXT: {
        model_type: name
        for model_type, name in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()
        if not any(model_type in names for names in MAPPINGS.values())
    }
}
"""Models of images and text that are in none of the mappings above, and which discovery was not developed on."""

SPECIAL_TOKEN = re.compile(r"(.*_token_(id|index)|(pad|bos|eos|unk|mask)_(index|idx|id)|sep_id|.*_to_.*_id)")
"""Attributes that are the id of a special token."""
SIZED_THOUGH_NONE = {"head_dim": "per_head", "n_inner": "neurons", "intermediate_size": "neurons"}
"""Attributes that get a size although they are None by default: an attribute of TinyShape."""


@dataclass(frozen=True)
class Entry:
    """One architecture in one mapping of transformers."""

    mapping: str
    model_type: str

    def __str__(self) -> str:
        return f"{self.mapping}-{self.model_type}"


def entries(*, held_out: bool = False) -> tuple[Entry, ...]:
    """All architectures in the three mappings of the installed transformers, or the held-out ones."""
    chosen = HELD_OUT if held_out else MAPPINGS
    return tuple(Entry(mapping, model_type) for mapping, names in chosen.items() for model_type in names)


def tiny_model(entry: Entry, shape: TinyShape = DEFAULT, *, seed: int = 0) -> PreTrainedModel:
    """A random model of the architecture in evaluation mode, the same for the same seed."""
    name = {**MAPPINGS, **HELD_OUT}[entry.mapping][entry.model_type]
    model_class = getattr(transformers, name if isinstance(name, str) else name[0])
    default = CONFIG_MAPPING[entry.model_type]()
    exceptions = exceptions_for(entry.mapping, entry.model_type)
    overrides = {path: value for path, value in exceptions.items() if path[0] != ":"}
    if entry.mapping == "causal" and getattr(default, "is_decoder", None) is False:
        overrides.setdefault("is_decoder", True)  # otherwise attention is bidirectional, or the class raises
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _select_part(_shrink(default, shape, overrides), model_class.config_class)
        model: PreTrainedModel = model_class(config)
    redraw(model, seed)
    return model.float().eval()


def _shrink(
    default: PreTrainedConfig, shape: TinyShape, overrides: Mapping[str, Any], prefix: str = ""
) -> PreTrainedConfig:
    """A configuration with the sizes of ``shape`` and the ``overrides`` of attributes, by path."""
    config_class = type(default)
    usual = config_class()
    attributes = config_class.attribute_map
    stored = {field.name: attributes.get(field.name, field.name) for field in fields(config_class)}
    values = {name: vars(default)[key] for name, key in stored.items() if key in vars(default)}
    chosen = {name: value for name, value in values.items() if _differs(value, vars(usual).get(stored[name]))}
    layers = _layer_counts(values, shape)
    for name, value in values.items():
        if isinstance(value, PreTrainedConfig):
            chosen[name] = _shrink(value, shape, overrides, f"{prefix}{name}.")
        elif isinstance(value, list) and len(value) in layers:
            items = _one_of_each_kind(value, layers[len(value)])
            of_layer = name.removesuffix("_per_layer")
            chosen[name] = [tiny_size(shape, of_layer, item) if type(item) is int else item for item in items]
        elif isinstance(value, int | type(None)) and not isinstance(value, bool):
            new = _tiny_number(shape, name, value, layers, values)
            if new != value:
                chosen[name] = new
    own = {path.removeprefix(prefix): value for path, value in overrides.items() if path.startswith(prefix)}
    chosen.update({path: _resolve(shape, value) for path, value in own.items() if "." not in path})
    return config_class(**{name: value for name, value in chosen.items() if value is not _DERIVED})


def _select_part(config: PreTrainedConfig, wanted: type[PreTrainedConfig]) -> PreTrainedConfig:
    """The part of a configuration that is of the wanted class, such as that of the text model; otherwise all of it."""
    if isinstance(config, wanted):
        return config
    return next((part for part in vars(config).values() if isinstance(part, wanted)), config)


_DERIVED = object()
"""Stands for an attribute that the class of the configuration computes."""


def _resolve(shape: TinyShape, value: Any) -> Any:
    """The value of an override: "$neurons" and the like are sizes of ``shape``, "$derived" is left to the class."""
    if value == "$derived":
        return _DERIVED
    return resolve_size(shape, value[1:]) if isinstance(value, str) and value.startswith("$") else value


def _differs(value: Any, usual: Any) -> bool:
    return not isinstance(value, PreTrainedConfig) and bool(value != usual)


def _tiny_number(
    shape: TinyShape, name: str, value: int | None, layers: dict[int, int], values: Mapping[str, Any]
) -> int | None:
    """The value in a tiny model of an attribute that is a number or None."""
    if value is None:
        return resolve_size(shape, SIZED_THOUGH_NONE[name]) if name in SIZED_THOUGH_NONE else None
    if SPECIAL_TOKEN.fullmatch(name):
        return value if value < VOCABULARY else VOCABULARY - 1 - sum(map(ord, name)) % 20
    if is_layer_count(name) and value in layers:
        return layers[value]
    if is_kv_count(name) and value in (values.get("num_attention_heads"), values.get("num_heads")):
        return shape.heads  # every head has its own keys and values: some models support nothing else
    return tiny_size(shape, name, value)


def _layer_counts(values: Mapping[str, Any], shape: TinyShape) -> dict[int, int]:
    """The number of layers in a tiny model by that in the configuration: at least one of each kind in a list."""
    counts = {value for name, value in values.items() if is_layer_count(name) and type(value) is int}
    kinds = {
        count: max(
            (len(_kinds(value)) for value in values.values() if isinstance(value, list) and len(value) == count),
            default=0,
        )
        for count in counts
    }
    return {count: min(count, max(shape.layers, kinds[count])) for count in counts}


def _kinds(value: list[Any]) -> list[Any]:
    """The different items of a list, in order; none if they are many, because they then are not kinds of layers."""
    kinds = [item for index, item in enumerate(value) if item not in value[:index]]
    return kinds if len(kinds) <= 4 else []


def _one_of_each_kind(value: list[Any], layers: int) -> list[Any]:
    kinds = _kinds(value)
    return [kinds[i % len(kinds)] for i in range(layers)] if kinds else value[:layers]


def token_inputs(model: PreTrainedModel, tokens: int = 14) -> dict[str, Tensor]:
    """Random token ids [1, token] by the names of the model's arguments, without special tokens."""
    generator = torch.Generator().manual_seed(1)
    parameters = inspect.signature(model.forward).parameters
    arguments = {
        name: torch.randint(10, 170, (1, tokens), generator=generator)
        for name in ("input_ids", "decoder_input_ids")
        if name in parameters
    }
    if "attention_mask" in parameters:
        arguments["attention_mask"] = torch.ones(1, tokens, dtype=torch.long)
    return arguments
