"""The units of one model on the selection split, about shifts that all batches share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.statistics.correlation import ShiftedUnits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.activations.forward_pass import Consumer
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.universality.units import ComparedModel


class SelectionUnits:
    """Units of a model on batches of the selection split: computed each time, or kept in memory with ``keep``."""

    def __init__(
        self, model: ComparedModel, batches: Sequence[Batch], kinds: Sequence[str], *, keep: bool = False
    ) -> None:
        self._model = model
        self._batches = batches
        self._kinds = kinds
        self._keep = keep
        self._shifts: dict[str, Tensor] = {}
        self._kept: dict[int, dict[str, ShiftedUnits]] = {}

    def units(self, number: int, kinds: Sequence[str], also: Sequence[Consumer] = ()) -> dict[str, ShiftedUnits]:
        """The units of a batch, at least those of ``kinds``. The pass feeds the consumers in ``also`` too."""
        if number in self._kept and not also:
            return self._kept[number]
        wanted = self._kinds if self._keep else kinds
        found = {}
        for kind, units in self._model.observe(self._batches[number], wanted, also).items():
            if self._batches[number].n_compared:
                found[kind] = ShiftedUnits.of(units, self._shifts.get(kind))
                self._shifts[kind] = found[kind].shift
        if self._keep:
            self._kept[number] = found
        return found
