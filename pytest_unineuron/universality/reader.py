"""The units of one model where partners are chosen, as often as they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pytest_unineuron.statistics.correlation import ShiftedUnits
from pytest_unineuron.universality.spill import Spill
from pytest_unineuron.universality.ways import AGAIN, DISK, MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.sweep import Sweeper
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.universality.units import Member

    Wanted = Mapping[str, slice]


class Reader:
    """What a model does on batches of the choosing half: kept in memory, on disk, or computed again each time.

    ``place`` says which. A context: what is on disk is gone at its end, or with the reader.
    """

    def __init__(self, member: Member, batches: Sequence[Batch], kinds: Sequence[str], place: str = AGAIN) -> None:
        self.member = member
        self.place = place
        self._batches = batches
        self._kinds = kinds
        self._shifts: dict[str, Tensor] = {}
        self._kept: dict[int, dict[str, ShiftedUnits]] = {}
        self._spill: Spill | None = None
        self._spilled: dict[int, dict[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spill is not None:
            self._spill.close()
        self._spill, self._spilled = None, {}
        self._kept = {}

    def units(
        self, number: int, wanted: Wanted | None = None, sweeper: Sweeper | None = None
    ) -> dict[str, ShiftedUnits]:
        """The units of a batch by kind, about a shift that all batches share.

        ``wanted`` are the kinds, and which of their units: what others there are may be anything. A ``sweeper``
        sees the pass; there has to be one.
        """
        if sweeper is None:
            if number in self._kept:
                return self._kept[number]
            if number in self._spilled:
                return self._read(number, wanted)
        found = {}
        kinds = self._kinds if wanted is None or self.place != AGAIN else [k for k in self._kinds if k in wanted]
        for kind, units in self.member.observe(self._batches[number], kinds, sweeper).items():
            if not self._batches[number].n_compared:
                continue
            found[kind] = ShiftedUnits.of(units, self._shifts.get(kind))
            self._shifts[kind] = found[kind].shift
        if self.place == MEMORY:
            self._kept[number] = found
        if self.place == DISK:
            try:
                self._write(number, found)
            except OSError:  # no room for more than was written: the rest is computed again
                self.place = AGAIN
        return found

    def _write(self, number: int, found: dict[str, ShiftedUnits]) -> None:
        if self._spill is None:
            self._spill = Spill()
        for kind, units in found.items():
            for layer, part in enumerate(units.values.split(self.member.sizes(kind), dim=1)):
                self._spill.write((number, kind, layer), part.T)
        self._spilled[number] = {kind: len(units.values) for kind, units in found.items()}

    def _read(self, number: int, wanted: Wanted | None) -> dict[str, ShiftedUnits]:
        assert self._spill is not None
        found = {}
        for kind, tokens in self._spilled[number].items():
            if wanted is not None and kind not in wanted:
                continue
            shift, end = self._shifts[kind], 0
            first, last, _ = (slice(None) if wanted is None else wanted[kind]).indices(len(shift))
            values = shift.new_empty(len(shift), tokens)  # of what is not wanted not even the memory is touched
            for layer, size in enumerate(self.member.sizes(kind)):
                start, end = end, end + size
                if end > first and start < last:
                    self._spill.read((number, kind, layer), values[start:end])
            found[kind] = ShiftedUnits(values.T, shift)
        return found
