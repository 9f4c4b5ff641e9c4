"""Finished statistics as tensors and a description of how they belong together, and back.

Nothing is unpickled: what can be read back are the classes that are named here and in the table of statistics.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pytest_unineuron.activations.sweep import PartialStatistics, SweepResult
from pytest_unineuron.statistics import STATISTICS, statistic_class
from pytest_unineuron.statistics.correlation import BestMatches, PairComoments
from pytest_unineuron.universality.choice import Choice
from pytest_unineuron.universality.match import Matches


@cache
def known() -> dict[str, type]:
    """The classes that can be stored, by name."""
    statistics = map(statistic_class, STATISTICS)
    return {
        kind.__name__: kind
        for kind in (SweepResult, PartialStatistics, Matches, Choice, BestMatches, PairComoments, *statistics)
    }


def packed(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """A description in plain JSON data, and the tensors it speaks of by name, on the CPU; the same where they can be.

    Takes frozen dataclasses that are ``known``, tuples, lists, dictionaries, tensors and plain values. Raises
    TypeError for anything else.
    """
    tensors: dict[str, Tensor] = {}
    lying: set[int] = set()

    def describe(part: Any) -> Any:
        if isinstance(part, Tensor):
            name = str(len(tensors))
            found = part.detach().to("cpu")
            whole = found.is_contiguous() and found.untyped_storage().nbytes() == found.nbytes
            if not whole or found.data_ptr() in lying:
                # An expanded tensor, a view of a larger one, or one that is there twice cannot be written as it lies.
                found = found.clone(memory_format=torch.contiguous_format)
            lying.add(found.data_ptr())
            tensors[name] = found
            return {"tensor": name}
        if is_dataclass(part) and type(part).__name__ in known():
            named = {field.name: describe(getattr(part, field.name)) for field in fields(part)}
            return {"class": type(part).__name__, "fields": named}
        if isinstance(part, tuple | list):
            return {type(part).__name__: [describe(each) for each in part]}
        if isinstance(part, dict):
            return {"dict": [[describe(key), describe(each)] for key, each in part.items()]}
        if part is None or type(part) in (bool, int, float, str):
            return {"value": part}
        raise TypeError(f"a {type(part).__name__} cannot be stored")

    return describe(value), tensors


def unpacked(description: Any, tensors: dict[str, Tensor]) -> Any:
    """What ``packed`` took apart. Raises KeyError, TypeError or ValueError for a description that it did not make."""
    if "class" in description:
        kind = known()[description["class"]]
        return kind(**{name: unpacked(part, tensors) for name, part in description["fields"].items()})
    ((kind, content),) = description.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "value":
        return content
    if kind == "dict":
        return {unpacked(key, tensors): unpacked(part, tensors) for key, part in content}
    if kind in ("tuple", "list"):
        parts = [unpacked(part, tensors) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    raise ValueError(f"there is no {kind!r}")
