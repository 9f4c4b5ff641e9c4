"""A further seed on one text: all that does not depend on the model it is compared with."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.units import KINDS, Member
from pytest_unineuron.controls.rotation import haar
from pytest_unineuron.statistics.correlation import Centred, Shifted, Within, inverse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch

DRAWS = 3
"""Random bases; the baseline is the mean over them."""


class Counterpart:
    """One seed reading ``batches``, of which the even document groups choose and the odd ones read.

    Model and control arms are all compared with the same seeds on the same text, so activations are kept in
    memory where they fit into ``room`` (bytes), and are computed again each time where they do not. Nothing is
    kept on disk.
    """

    def __init__(
        self,
        member: Member,
        batches: Sequence[Batch],
        *,
        kinds: Sequence[str] = KINDS,
        draws: int = DRAWS,
        room: float = 1e9,
    ) -> None:
        self.member = member
        self.batches = batches
        self.kinds = kinds
        self.draws = draws
        slots = sum(batch.compared * (1 if batch.group % 2 == 0 else 1 + draws) for batch in batches)
        self._keeps = 4.0 * slots * sum(sum(member.sizes(kind)) for kind in kinds) <= room
        self._shifts: dict[str, Tensor] = {}
        self._counted: set[int] = set()
        self._within: dict[str, list[Within]] = {}
        self._along: dict[tuple[str, int, int, bool], Tensor] = {}
        self._seen: dict[int, dict[str, Shifted]] = {}
        self._read: dict[int, dict[str, list[Centred]]] = {}

    def columns(self, kind: str) -> list[slice]:
        """Where each layer lies among the units of a kind."""
        ends = accumulate(self.member.sizes(kind), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def units(self, number: int) -> dict[str, Shifted]:
        """The units of a batch of the choosing half by kind. What is seen first also goes into ``within``."""
        if number in self._seen:
            return self._seen[number]
        found = {}
        for kind, units in self.member.observe(self.batches[number], self.kinds).items():
            found[kind] = Shifted.of(units, self._shifts.get(kind))
            self._shifts[kind] = found[kind].shift
        if number not in self._counted:
            self._counted.add(number)
            self._count(found)
        if self._keeps:
            self._seen[number] = found
        return found

    def _count(self, seen: dict[str, Shifted]) -> None:
        for kind, units in seen.items():
            if kind not in self._within:
                self._within[kind] = [Within(units.shift[columns]) for columns in self.columns(kind)]
            for sums, columns in zip(self._within[kind], self.columns(kind), strict=True):
                sums.take(units[columns])

    def compared(self, number: int) -> dict[str, list[Centred]]:
        """What units are compared with in a batch of the reading half, by kind: units, then every random basis."""
        found = self._read.get(number) or self._turned(self.member.observe(self.batches[number], self.kinds))
        if self._keeps:
            self._read[number] = found
        return found

    @property
    def within(self) -> dict[str, list[Within]]:
        """The co-moments of the units of every layer with one another on the choosing half, by kind."""
        for number, batch in enumerate(self.batches):
            if batch.group % 2 == 0 and batch.compared and number not in self._counted:
                self.units(number)
        return self._within

    def basis(self, kind: str, layer: int, draw: int) -> Tensor:
        """A random basis of a layer's units, [direction, unit]: the same for all layers of one size."""
        return haar(self.member.sizes(kind)[layer], draw).to(self.member.model.device)

    def directions(self, kind: str, layer: int, draw: int, *, standardised: bool) -> Tensor:
        """A random basis of a layer's units, standardised or as they are, every direction scaled to deviation one.

        [direction, unit]. A unit that never varied counts as nothing in standardised ones.
        """
        within, basis = self.within[kind][layer], self.basis(kind, layer, draw)
        if standardised:
            basis = basis * inverse(within.deviation())
        key = (kind, layer, draw, standardised)
        if key not in self._along:  # the same for every arm that is compared
            self._along[key] = within.along(basis)
        return basis / self._along[key][:, None]

    def _turned(self, by_kind: dict[str, Tensor]) -> dict[str, list[Centred]]:
        found = {}
        for kind, units in by_kind.items():
            plain = Centred.of(units)
            scale = torch.cat([inverse(layer.deviation()) for layer in self.within[kind]])
            bases = [[self.basis(kind, layer, draw) for layer in range(len(self.columns(kind)))]
                     for draw in range(self.draws)]  # fmt: skip
            found[kind] = [plain, *(plain.turned(of_draw, scale, self.columns(kind)) for of_draw in bases)]
        return found
