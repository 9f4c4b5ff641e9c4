"""The base classes of every statistic that a pass over a text accumulates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import torch

from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

S = TypeVar("S", bound="Statistic")


class Accumulator(ABC, Generic[S]):
    """A statistic in the making, to which batches are added in place.

    However the tokens are cut into batches, ``result`` equals ``Statistic.of`` all of them up to rounding. An
    accumulator must not read a number off its device, because that would make the host wait for a GPU.
    """

    @abstractmethod
    def __init__(self, units: int, device: Any) -> None:
        """Start with no token, for a layer of so many units."""

    @abstractmethod
    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Add the next rows of a batch, [token, unit], as ``LayerBatch.tiles`` yields them."""

    def finish_batch(self, batch: LayerBatch) -> None:
        """Add what needs the whole batch, its tokens or its labels; called after the last tile of the batch."""

    @abstractmethod
    def result(self) -> S:
        """Return the statistic of all batches so far; later batches do not change it."""


@dataclass(frozen=True, eq=False)
class Statistic(ABC):
    """A statistic of the units of a layer, which adds up over batches and concatenates over layers.

    Every field is a tensor whose last axis is the unit, or one number for all units, [].
    """

    accumulator: ClassVar[type[Accumulator[Any]]]

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """Return the statistic of one batch.

        ``values`` is [token, unit] in any float type; ``tokens`` and ``labels`` are the number and the label of each
        token, [token] int64, where a negative label means none.
        """
        accumulator = cls.accumulator(values.shape[1], values.device)
        accumulate(LayerBatch(values.detach(), tokens, labels), [accumulator], Scratch())
        result: Self = accumulator.result()
        return result

    @abstractmethod
    def __add__(self, other: Self) -> Self:
        """Return the statistic of the tokens of both."""

    @classmethod
    def concat_units(cls, parts: Sequence[Self]) -> Self:
        """Return one statistic of the units of all parts, in order. Parts may be over different tokens.

        A number for all units, [], stays one if it is the same in all parts.
        """

        def concat(name: str) -> Tensor:
            found: list[Tensor] = [getattr(part, name) for part in parts]
            if all(not field.dim() and field == found[0] for field in found):
                return found[0]
            whole = [
                field if field.dim() else field.expand(part.units) for field, part in zip(found, parts, strict=True)
            ]
            return torch.cat(whole, dim=-1)

        return cls(*(concat(field.name) for field in fields(cls)))

    @property
    def units(self) -> int:
        """The number of units."""
        last: Tensor = getattr(self, fields(self)[-1].name)
        return last.shape[-1]

    def cpu(self) -> Self:
        """Return the statistic with its tensors in the memory of the host."""
        return type(self)(*(getattr(self, field.name).cpu() for field in fields(self)))


def accumulate(batch: LayerBatch, accumulators: Collection[Accumulator[Any]], scratch: Scratch) -> None:
    """Add a batch to all accumulators tile by tile, so that each tile is read from memory once for all of them."""
    for tile in batch.tiles(scratch):
        for accumulator in accumulators:
            accumulator.update(tile, scratch)
    if len(batch):
        for accumulator in accumulators:
            accumulator.finish_batch(batch)
