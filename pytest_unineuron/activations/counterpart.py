"""A further seed on one text: all that does not depend on the model it is compared with."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.units import KINDS, Member
from pytest_unineuron.controls.rotation import haar
from pytest_unineuron.statistics.correlation import Centred, Covariation

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

    def __init__(self, member: Member, batches: Sequence[Batch], *, draws: int = DRAWS, room: float = 1e9) -> None:
        self.member = member
        self.batches = batches
        self.draws = draws
        slots = sum(batch.compared * (1 if batch.group % 2 == 0 else 1 + draws) for batch in batches)
        self._keeps = 4.0 * slots * sum(sum(member.sizes(kind)) for kind in KINDS) <= room
        self._seen: dict[int, dict[str, Tensor]] = {}
        self._read: dict[int, dict[str, list[Centred]]] = {}

    def columns(self, kind: str) -> list[slice]:
        """Where each layer lies among the units of a kind."""
        ends = accumulate(self.member.sizes(kind), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def units(self, number: int) -> dict[str, Tensor]:
        """The units of a batch of the choosing half by kind, [token, unit]."""
        found = self._seen.get(number) or self.member.observe(self.batches[number])
        if self._keeps:
            self._seen[number] = found
        return found

    def compared(self, number: int) -> dict[str, list[Centred]]:
        """What units are compared with in a batch of the reading half, by kind: units, then every random basis."""
        found = self._read.get(number) or self._turned(self.member.observe(self.batches[number]))
        if self._keeps:
            self._read[number] = found
        return found

    @cached_property
    def within(self) -> dict[str, list[Covariation]]:
        """The co-moments of the units of every layer with one another on the choosing half, by kind."""
        found: dict[str, list[Covariation]] = {}
        for number, batch in enumerate(self.batches):
            if batch.group % 2 or not batch.compared:
                continue
            for kind, units in self.units(number).items():
                layers = [units[:, columns] for columns in self.columns(kind)]
                if kind not in found:
                    found[kind] = [Covariation(layer.mean(0), layer.mean(0)) for layer in layers]
                for sums, layer in zip(found[kind], layers, strict=True):
                    sums.take(layer, layer)
        return found

    @cached_property
    def bases(self) -> dict[str, list[list[Tensor]]]:
        """Random bases of every layer's standardised units, by kind, [draw][layer] [direction, unit]."""
        found = {}
        for kind, layers in self.within.items():
            scales = [1 / layer.deviation(1).nan_to_num(nan=torch.inf) for layer in layers]
            found[kind] = [
                [basis * scale for basis, scale in zip(self.plain(kind, draw), scales, strict=True)]
                for draw in range(self.draws)
            ]
        return found

    def plain(self, kind: str, draw: int) -> list[Tensor]:
        """One random basis of every layer's units as they are, [layer] [direction, unit]."""
        return [
            haar(size, draw * 1009 + layer).to(self.member.model.device)
            for layer, size in enumerate(self.member.sizes(kind))
        ]

    def _turned(self, by_kind: dict[str, Tensor]) -> dict[str, list[Centred]]:
        found = {}
        for kind, units in by_kind.items():
            layers = [units[:, columns] for columns in self.columns(kind)]
            turned = [
                torch.cat([layer @ basis.T for layer, basis in zip(layers, bases, strict=True)], dim=1)
                for bases in self.bases[kind]
            ]
            found[kind] = [Centred.of(each) for each in (units, *turned)]
        return found
