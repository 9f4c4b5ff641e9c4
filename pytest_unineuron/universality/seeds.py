"""A further seed on one text: everything that does not depend on the model it is compared with."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.correlation import CentredUnits, inverse_deviation
from pytest_unineuron.universality.cost import ComparisonCost, forward_bytes
from pytest_unineuron.universality.kinds import KINDS, NEURONS
from pytest_unineuron.universality.selection import SelectionUnits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.statistics.correlation import LayerComoments, ShiftedUnits
    from pytest_unineuron.universality.units import ComparedModel


class SeedActivations:
    """One seed reading ``batches``: even document groups are the selection split, odd ones the held-out split.

    The model and its control arms are all compared with the same seeds on the same text, so activations are kept in
    memory where they fit into ``room`` (bytes): those of the selection split first, then those of the held-out
    split. Where they do not fit, they are computed each time. ``kept_bytes`` is how much is kept. ``n_bases`` overrules
    the number of random bases of every kind.
    """

    def __init__(
        self,
        model: ComparedModel,
        batches: Sequence[Batch],
        *,
        kinds: Collection[str] = KINDS,
        n_bases: int = 0,
        room: float = 1e9,
    ) -> None:
        self.model = model
        self.batches = batches
        self.kinds = tuple(kinds)
        self._n_bases = n_bases
        self._within: dict[tuple[str, int], LayerComoments] = {}
        self._deviation: dict[tuple[str, int], Tensor] = {}
        self._along: dict[tuple[str, int, int, bool], Tensor] = {}
        self._bases: dict[tuple[int, int], Tensor] = {}  # by width and draw
        self._held_out: dict[int, dict[str, list[CentredUnits]]] = {}
        cost = comparison_cost(model, batches, [self], kinds)
        selection, held_out = cost.kept_bytes(cost.subject, room)
        self.kept_bytes = selection + held_out
        self._keeps_held_out = held_out > 0
        self._selection = SelectionUnits(model, batches, self.kinds, keep=selection > 0)

    def n_bases(self, kind: str) -> int:
        """The number of random bases in which units of a kind are compared."""
        return self._n_bases or KINDS[kind].bases

    def columns(self, kind: str) -> list[slice]:
        """The place of each layer among the units of a kind."""
        ends = accumulate(self.model.sizes(kind), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def selection_units(self, number: int, kinds: Sequence[str]) -> dict[str, ShiftedUnits]:
        """The units of a batch of the selection split, by kind."""
        return self._selection.units(number, kinds)

    # -- what lies within its layers -------------------------------------------------------------------------

    def knows(self, kind: str, layer: int) -> bool:
        """Whether the covariances within a layer were computed, by this comparison or an earlier one."""
        return (kind, layer) in self._within or (kind, layer) in self._deviation

    def learn(self, kind: str, layer: int, within: LayerComoments) -> None:
        """Take the co-moments of the units of a layer with one another on the whole selection split."""
        self._within[kind, layer] = within

    def _finish(self, kind: str, layer: int) -> None:
        """Compute from the covariances of a layer what will be asked for; they themselves take much memory."""
        if (kind, layer) not in self._within:
            return
        within = self._within.pop((kind, layer))
        self._deviation[kind, layer] = within.deviation()
        for draw in range(self.n_bases(kind)):
            for standardised in (True, False)[: 1 if draw else 2]:
                basis = self._scaled_basis(kind, layer, draw, standardised=standardised)
                self._along[kind, layer, draw, standardised] = within.deviation_along(basis)

    def _deviations(self, kind: str, layer: int) -> Tensor:
        self._finish(kind, layer)
        return self._deviation[kind, layer]

    def basis(self, kind: str, layer: int, draw: int) -> Tensor:
        """A random basis of a layer's units, [direction, unit]: the same for all layers of one size."""
        key = self.model.sizes(kind)[layer], draw
        if key not in self._bases:
            self._bases[key] = _basis(*key, self.model.model.device, self.model.dtype)
        return self._bases[key]

    def draw_bases(self) -> None:
        """Draw all bases, before products take up memory: drawing takes ten times as much as what is drawn."""
        for kind in self.kinds:
            for layer in range(len(self.model.sizes(kind))):
                for draw in range(self.n_bases(kind)):
                    self.basis(kind, layer, draw)

    def _scaled_basis(self, kind: str, layer: int, draw: int, *, standardised: bool) -> Tensor:
        basis = self.basis(kind, layer, draw)
        return basis * inverse_deviation(self._deviation[kind, layer]) if standardised else basis

    def directions(self, kind: str, layer: int, draw: int, *, standardised: bool) -> Tensor:
        """A random basis of a layer's units, [direction, unit], every direction scaled to standard deviation one.

        The basis is of standardised units, in which a unit that never varied counts as nothing, or of units as they
        are, of which there is only the first draw.
        """
        self._finish(kind, layer)
        along = self._along[kind, layer, draw, standardised]
        return self._scaled_basis(kind, layer, draw, standardised=standardised) / along[:, None]

    # -- what is compared on the held-out split --------------------------------------------------------------

    def held_out_units(self, number: int) -> dict[str, Iterable[CentredUnits]]:
        """The units of a batch of the held-out split by kind, then the same in every random basis.

        Each is computed when it is asked for, unless all of them are kept.
        """
        if number in self._held_out:
            return dict(self._held_out[number])
        observed = self.model.observe(self.batches[number], self.kinds)
        if not self._keeps_held_out:
            return {kind: self._in_bases(kind, observed) for kind in list(observed)}
        self._held_out[number] = {kind: list(self._in_bases(kind, observed)) for kind in list(observed)}
        return dict(self._held_out[number])

    def _in_bases(self, kind: str, observed: dict[str, Tensor]) -> Iterable[CentredUnits]:
        plain = CentredUnits.of(observed.pop(kind))  # let go of before the next is made
        yield plain
        layers = range(len(self.columns(kind)))
        scale = torch.cat([inverse_deviation(self._deviations(kind, layer)) for layer in layers])
        for draw in range(self.n_bases(kind)):
            yield plain.rotated([self.basis(kind, layer, draw) for layer in layers], scale, self.columns(kind))


@lru_cache(maxsize=16)
def _basis(size: int, draw: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A random basis on the device where it is needed, the same tensor for all seeds."""
    return haar_rotation(size, draw).to(device, dtype)


def comparison_cost(
    subject: ComparedModel, batches: Sequence[Batch], seeds: Sequence[SeedActivations], kinds: Collection[str] = KINDS
) -> ComparisonCost:
    """The cost of comparing a model with these seeds on these batches."""
    kinds = [kind for kind in kinds if all(kind in seed.kinds for seed in seeds)]

    def sizes(model: ComparedModel) -> dict[str, list[int]]:
        return {kind: model.sizes(kind) for kind in kinds}

    def compared(odd: int) -> int:
        return sum(batch.n_compared for batch in batches if batch.group % 2 == odd)

    size, layout = subject.dtype.itemsize, subject.anatomy.layout
    positions = max((batch.ids.numel() for batch in batches), default=0)
    neurons = max(subject.sizes(NEURONS), default=0)
    # A model whose middle stream can only be read at the end of a pass keeps the stream after every layer.
    streams = len(layout.layers) if layout.stream and not layout.stream.reader else 1
    return ComparisonCost(
        sizes(subject),
        tuple(sizes(seed.model) for seed in seeds),
        selection_tokens=compared(0),
        held_out_tokens=compared(1),
        batch_tokens=max((batch.n_compared for batch in batches), default=0),
        n_bases={kind: max((seed.n_bases(kind) for seed in seeds), default=0) for kind in kinds},
        bytes_per_number=size,
        forward_bytes=forward_bytes(positions, subject.anatomy.width, neurons, size, streams),
        n_groups=len({batch.group for batch in batches if batch.group % 2}),
        known_seeds=frozenset(
            index
            for index, seed in enumerate(seeds)
            if all(seed.knows(kind, layer) for kind in kinds for layer in range(len(seed.columns(kind))))
        ),
    )
