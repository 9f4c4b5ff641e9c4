"""A further seed on one text: all that does not depend on the model it is compared with."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.correlation import CentredUnits, LayerComoments, ShiftedUnits, inverse_deviation
from pytest_unineuron.universality import cost
from pytest_unineuron.universality.cost import DRAWS, Task, passing
from pytest_unineuron.universality.reader import Reader
from pytest_unineuron.universality.units import KINDS, NEURONS, Member
from pytest_unineuron.universality.ways import AGAIN, MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.universality.reader import Wanted


class Counterpart:
    """One seed reading ``batches``, of which the even document groups choose and the odd ones read.

    Model and control arms are all compared with the same seeds on the same text, so activations are kept in
    memory where they fit into ``room`` (bytes): those of the choosing half first, then those of the reading half.
    Where they do not, they are computed again, or read from disk, each time. ``held`` is how much is kept.
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
        self._within: dict[tuple[str, int], LayerComoments] = {}
        self._deviation: dict[tuple[str, int], Tensor] = {}
        self._along: dict[tuple[str, int, int, bool], Tensor] = {}
        self._bases: dict[tuple[int, int], Tensor] = {}  # of one width and draw
        self._read: dict[int, dict[str, list[CentredUnits]]] = {}
        task = task_of(member, batches, [self], kinds)
        choosing, reading = cost.held(task, task.subject, room)
        self.held = choosing + reading
        self._keeps = reading > 0
        self._reader = Reader(member, batches, kinds, MEMORY if self.held else AGAIN)

    @property
    def place(self) -> str:
        """Where the activations of the choosing half are: in memory, on disk, or made again."""
        return self._reader.place

    @place.setter
    def place(self, place: str) -> None:
        self._reader.place = place

    def columns(self, kind: str) -> list[slice]:
        """Where each layer lies among the units of a kind."""
        ends = accumulate(self.member.sizes(kind), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def units(self, number: int, wanted: Wanted | None = None) -> dict[str, ShiftedUnits]:
        """The units of a batch of the choosing half, by kind; those that are ``wanted``, if that is said."""
        return self._reader.units(number, wanted)

    # -- what lies within its layers -----------------------------------------------------------------------

    def knows(self, kind: str, layer: int) -> bool:
        """Whether the covariances within a layer were gathered, by this comparison or an earlier one."""
        return (kind, layer) in self._within or (kind, layer) in self._deviation

    def learn(self, kind: str, layer: int, within: LayerComoments) -> None:
        """The co-moments of the units of a layer with one another on the whole choosing half."""
        self._within[kind, layer] = within

    def _finish(self, kind: str, layer: int) -> None:
        """Take from the covariances of a layer all that will be asked for; they themselves take much memory."""
        if (kind, layer) not in self._within:
            return
        within = self._within.pop((kind, layer))
        self._deviation[kind, layer] = within.deviation()
        for draw in range(self.draws):
            for standardised in (True, False)[: 1 if draw else 2]:
                basis = self._basis(kind, layer, draw, standardised=standardised)
                self._along[kind, layer, draw, standardised] = within.deviation_along(basis)

    def _deviations(self, kind: str, layer: int) -> Tensor:
        self._finish(kind, layer)
        return self._deviation[kind, layer]

    def basis(self, kind: str, layer: int, draw: int) -> Tensor:
        """A random basis of a layer's units, [direction, unit]: the same for all layers of one size."""
        key = self.member.sizes(kind)[layer], draw
        if key not in self._bases:
            self._bases[key] = _haar(*key, self.member.model.device, self.member.dtype)
        return self._bases[key]

    def draw(self) -> None:
        """Draw all bases: better before products take up memory, as drawing takes ten times what is drawn."""
        for kind in self.kinds:
            for layer in range(len(self.member.sizes(kind))):
                for draw in range(self.draws):
                    self.basis(kind, layer, draw)

    def _basis(self, kind: str, layer: int, draw: int, *, standardised: bool) -> Tensor:
        basis = self.basis(kind, layer, draw)
        return basis * inverse_deviation(self._deviation[kind, layer]) if standardised else basis

    def directions(self, kind: str, layer: int, draw: int, *, standardised: bool) -> Tensor:
        """A random basis of a layer's units, standardised or as they are, every direction scaled to deviation one.

        [direction, unit]. A unit that never varied counts as nothing in standardised ones. Unstandardised there is
        only the first draw.
        """
        self._finish(kind, layer)
        along = self._along[kind, layer, draw, standardised]
        return self._basis(kind, layer, draw, standardised=standardised) / along[:, None]

    # -- what is compared where partners are read ----------------------------------------------------------

    def compared(self, number: int) -> dict[str, Iterable[CentredUnits]]:
        """What units are compared with in a batch of the reading half, by kind: units, then every random basis.

        Each is made when it is asked for, unless all of them are kept.
        """
        if number in self._read:
            return dict(self._read[number])
        observed = self.member.observe(self.batches[number], self.kinds)
        if not self._keeps:
            return {kind: self._turned(kind, observed) for kind in list(observed)}
        self._read[number] = {kind: list(self._turned(kind, observed)) for kind in list(observed)}
        return dict(self._read[number])

    def _turned(self, kind: str, observed: dict[str, Tensor]) -> Iterable[CentredUnits]:
        plain = CentredUnits.of(observed.pop(kind))  # before the next is made
        yield plain
        layers = range(len(self.columns(kind)))
        scale = torch.cat([inverse_deviation(self._deviations(kind, layer)) for layer in layers])
        for draw in range(self.draws):
            yield plain.rotated([self.basis(kind, layer, draw) for layer in layers], scale, self.columns(kind))


@lru_cache(maxsize=16)
def _haar(size: int, draw: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A random basis where it is needed, the same tensor for all seeds."""
    return haar_rotation(size, draw).to(device, dtype)


def task_of(
    subject: Member, batches: Sequence[Batch], seeds: Sequence[Counterpart], kinds: Sequence[str] = KINDS
) -> Task:
    """What comparing a model with these seeds takes."""
    looked = [[batch.n_compared for batch in batches if batch.group % 2 == half] for half in (0, 1)]
    kinds = [kind for kind in kinds if all(kind in seed.kinds for seed in seeds)]

    def sizes(member: Member) -> dict[str, list[int]]:
        return {kind: member.sizes(kind) for kind in kinds}

    item = subject.dtype.itemsize
    neurons = max(subject.sizes(NEURONS), default=0)
    positions = max((batch.ids.numel() for batch in batches), default=0)
    layout = subject.anatomy.layout
    # A model of which the stream can only be had at the end keeps it after every layer.
    kept = len(layout.layers) if layout.stream and not layout.stream.reader else 1
    return Task(
        sizes(subject),
        tuple(sizes(seed.member) for seed in seeds),
        choosing=sum(looked[0]),
        reading=sum(looked[1]),
        batch=max((batch.n_compared for batch in batches), default=0),
        draws=max((seed.draws for seed in seeds), default=0),
        item=item,
        passing=passing(positions, subject.anatomy.width, neurons, item, kept),
        groups=len({batch.group for batch in batches if batch.group % 2}),
        known=frozenset(
            index
            for index, seed in enumerate(seeds)
            if all(seed.knows(kind, layer) for kind in kinds for layer in range(len(seed.columns(kind))))
        ),
    )
