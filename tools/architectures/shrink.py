"""A tiny random model of every architecture that transformers can load as a language model.

The configuration of an architecture is its own default with other sizes, by what the names of its attributes
mean (sizes.py), so that an architecture nobody has looked at mostly works. What a name does not say is data,
with a reason: exceptions.csv.
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

from tools.architectures.exceptions import rows
from tools.architectures.sizes import (
    DEFAULT,
    EQUAL,
    VOCABULARY,
    WIDE_HEADS,
    Shape,
    amount,
    is_kv_count,
    is_layer_count,
    size,
)
from tools.architectures.weights import redraw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["DEFAULT", "EQUAL", "WIDE_HEADS", "Entry", "Shape", "entries", "inputs", "tiny"]

MAPPINGS = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
"""Which class an architecture has, by task and by model type."""

IMAGE_TEXT = "image-text"
HELD_OUT = {
    IMAGE_TEXT: {
        model_type: name
        for model_type, name in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()
        if not any(model_type in names for names in MAPPINGS.values())
    }
}
"""Models of images and text that are in none of the mappings above: nothing was ever adapted to them."""

SPECIAL = re.compile(r"(.*_token_(id|index)|(pad|bos|eos|unk|mask)_(index|idx|id)|sep_id|.*_to_.*_id)")
"""Attributes that are the number of a special token."""
UNSAID = {"head_dim": "per_head", "n_inner": "neurons", "intermediate_size": "neurons"}
"""Attributes that are told a size though they are None by default, and what Shape calls it."""


@dataclass(frozen=True)
class Entry:
    """One architecture as one of the Auto classes loads it: the mapping it stands in and its model type."""

    mapping: str
    model_type: str

    def __str__(self) -> str:
        return f"{self.mapping}-{self.model_type}"


def entries(*, held_out: bool = False) -> tuple[Entry, ...]:
    """Every architecture in the three mappings of the installed transformers, or those that were held out."""
    chosen = HELD_OUT if held_out else MAPPINGS
    return tuple(Entry(mapping, model_type) for mapping, names in chosen.items() for model_type in names)


def tiny(entry: Entry, shape: Shape = DEFAULT, *, seed: int = 0) -> PreTrainedModel:
    """A random model of the architecture in evaluation mode, the same for the same seed."""
    name = {**MAPPINGS, **HELD_OUT}[entry.mapping][entry.model_type]
    made = getattr(transformers, name if isinstance(name, str) else name[0])
    default = CONFIG_MAPPING[entry.model_type]()
    told = {path: value for path, value in rows(entry.mapping, entry.model_type).items() if path[0] != ":"}
    if entry.mapping == "causal" and getattr(default, "is_decoder", None) is False:
        told.setdefault("is_decoder", True)  # else it attends to both sides, or refuses
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = made(_part(_shrunk(default, shape, told), made.config_class))
    redraw(model, seed)
    return model.float().eval()


def _shrunk(default: PreTrainedConfig, shape: Shape, told: Mapping[str, Any], prefix: str = "") -> PreTrainedConfig:
    """The configuration with the sizes of ``shape``, and what the exceptions say about it."""
    made = type(default)
    usual = made()
    stored = {field.name: made.attribute_map.get(field.name, field.name) for field in fields(made)}
    values = {name: vars(default)[kept] for name, kept in stored.items() if kept in vars(default)}
    chosen = {name: value for name, value in values.items() if _differs(value, vars(usual).get(stored[name]))}
    layers = _layers(values, shape)
    for name, value in values.items():
        if isinstance(value, PreTrainedConfig):
            chosen[name] = _shrunk(value, shape, told, f"{prefix}{name}.")
        elif isinstance(value, list) and len(value) in layers:
            kept = _of_each_kind(value, layers[len(value)])
            chosen[name] = [size(shape, name.removesuffix("_per_layer"), v) if type(v) is int else v for v in kept]
        elif isinstance(value, int | type(None)) and not isinstance(value, bool):
            new = _number(shape, name, value, layers, values)
            if new != value:
                chosen[name] = new
    own = {path.removeprefix(prefix): value for path, value in told.items() if path.startswith(prefix)}
    chosen.update({path: _meant(shape, value) for path, value in own.items() if "." not in path})
    return made(**{name: value for name, value in chosen.items() if value is not _DERIVED})


def _part(config: PreTrainedConfig, wanted: type[PreTrainedConfig]) -> PreTrainedConfig:
    """The part of a configuration that a class wants if it is one part of a larger model, else all of it."""
    if isinstance(config, wanted):
        return config
    return next((part for part in vars(config).values() if isinstance(part, wanted)), config)


_DERIVED = object()
"""Stands for an attribute that its class shall compute by itself."""


def _meant(shape: Shape, value: Any) -> Any:
    """An exception's value: "$neurons" is what Shape calls neurons, "$derived" is left to the class."""
    if value == "$derived":
        return _DERIVED
    return amount(shape, value[1:]) if isinstance(value, str) and value.startswith("$") else value


def _differs(value: Any, usual: Any) -> bool:
    return not isinstance(value, PreTrainedConfig) and bool(value != usual)


def _number(
    shape: Shape, name: str, value: int | None, layers: dict[int, int], values: Mapping[str, Any]
) -> int | None:
    if value is None:
        return amount(shape, UNSAID[name]) if name in UNSAID else None
    if SPECIAL.fullmatch(name):
        return value if value < VOCABULARY else VOCABULARY - 1 - sum(map(ord, name)) % 20
    if is_layer_count(name) and value in layers:
        return layers[value]
    if is_kv_count(name) and value in (values.get("num_attention_heads"), values.get("num_heads")):
        return shape.heads  # keys and values of their own for every head: some models know nothing else
    return size(shape, name, value)


def _layers(values: Mapping[str, Any], shape: Shape) -> dict[int, int]:
    """How many layers are left of how many: enough to have one of each kind that a list names."""
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
    """The different things in a list, in order; a list of many different things has no kinds."""
    kinds = [item for index, item in enumerate(value) if item not in value[:index]]
    return kinds if len(kinds) <= 4 else []


def _of_each_kind(value: list[Any], layers: int) -> list[Any]:
    kinds = _kinds(value)
    return [kinds[i % len(kinds)] for i in range(layers)] if kinds else value[:layers]


def inputs(model: PreTrainedModel, tokens: int = 14) -> dict[str, Tensor]:
    """Random token ids under the names that the model has for them; no special token is among them."""
    generator = torch.Generator().manual_seed(1)
    takes = inspect.signature(model.forward).parameters
    given = {
        name: torch.randint(10, 170, (1, tokens), generator=generator)
        for name in ("input_ids", "decoder_input_ids")
        if name in takes
    }
    if "attention_mask" in takes:
        given["attention_mask"] = torch.ones(1, tokens, dtype=torch.long)
    return given
