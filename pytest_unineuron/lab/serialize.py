"""Serializes finished results as tensors and a description in JSON data, and makes them again from these.

Nothing is unpickled: only instances of the classes named here and in the table of statistics can be made.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_unineuron.activations.sinks import Sinks
from pytest_unineuron.activations.sweep import PartialStatistics, SweepResult
from pytest_unineuron.roles.attention import AttentionSums
from pytest_unineuron.roles.families import Families
from pytest_unineuron.roles.interventions import Effects
from pytest_unineuron.roles.letters import LetterNeurons
from pytest_unineuron.roles.pattern_agreement import PatternProducts
from pytest_unineuron.statistics import STATISTICS, statistic_class
from pytest_unineuron.statistics.correlation import BestMatches, PairComoments
from pytest_unineuron.universality.choice import Choice
from pytest_unineuron.universality.match import Matches


def storable_classes() -> dict[str, type]:
    """Return the classes whose instances can be stored, by name."""
    return _by_name(*map(statistic_class, STATISTICS))


@cache
def _by_name(*statistics: type) -> dict[str, type]:
    return {
        kind.__name__: kind
        for kind in (
            SweepResult,
            PartialStatistics,
            Sinks,
            Effects,
            AttentionSums,
            PatternProducts,
            Families,
            LetterNeurons,
            Matches,
            Choice,
            BestMatches,
            PairComoments,
            *statistics,
        )
    }


def serialize(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a description of a value in JSON data, and the tensors that it refers to by name, on the CPU.

    Takes instances of ``storable_classes``, tuples, lists, dictionaries, tensors, arrays of numbers and plain values.
    Raises TypeError for anything else. Tensors are copied only where they cannot be written as they are.
    """
    serializer = _Serializer()
    return serializer.describe(value), serializer.tensors


class _Serializer:
    """Describes values, and collects their tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._addresses: set[int] = set()

    def describe(self, part: Any) -> Any:
        if isinstance(part, Tensor):
            return {"tensor": self._add(part.detach().to("cpu"))}
        if type(part) is np.ndarray and part.dtype.kind in "biuf":
            native = np.asarray(part, part.dtype.newbyteorder("="), order="C")
            return {"array": self._add(torch.from_numpy(native))}
        if is_dataclass(part) and storable_classes().get(type(part).__name__) is type(part):
            named = {field.name: self.describe(getattr(part, field.name)) for field in fields(part)}
            return {"class": type(part).__name__, "fields": named}
        if type(part) in (tuple, list):
            return {type(part).__name__: [self.describe(each) for each in part]}
        if isinstance(part, dict):
            return {"dict": [[self.describe(key), self.describe(each)] for key, each in part.items()]}
        if type(part) is float and not math.isfinite(part):
            return {"float": repr(part)}
        if part is None or type(part) in (bool, int, float, str):
            return {"value": part}
        raise TypeError(f"a {type(part).__name__} cannot be stored")

    def _add(self, tensor: Tensor) -> str:
        """Add a tensor and return its name."""
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        if not whole or tensor.data_ptr() in self._addresses:
            # safetensors does not write an expanded tensor, a view of a larger one, or two tensors of one storage.
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        self._addresses.add(tensor.data_ptr())
        name = str(len(self.tensors))
        self.tensors[name] = tensor
        return name


def deserialize(description: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value that ``serialize`` described.

    Raises KeyError, TypeError or ValueError for a description that it did not make.
    """
    if "class" in description:
        kind = storable_classes()[description["class"]]
        return kind(**{name: deserialize(part, tensors) for name, part in description["fields"].items()})
    ((kind, content),) = description.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "value":
        return content
    if kind == "float":
        return float(content)
    if kind == "dict":
        return {deserialize(key, tensors): deserialize(part, tensors) for key, part in content}
    if kind in ("tuple", "list"):
        parts = [deserialize(part, tensors) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    raise ValueError(f"unknown kind of value: {kind!r}")
