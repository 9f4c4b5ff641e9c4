"""Sums of products of the units of a model with those of its seeds, accumulated block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.statistics.correlation import CrossComoments, LayerComoments
from pytest_unineuron.statistics.tf32 import tf32_products

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pytest_unineuron.distributed.single_process import ProcessGroup
    from pytest_unineuron.distributed.single_process import Sums as AnySums
    from pytest_unineuron.statistics.correlation import ShiftedUnits
    from pytest_unineuron.universality.blocks import Cell, ProductBlock
    from pytest_unineuron.universality.seeds import SeedActivations


class BlockProducts:
    """The co-moments of one block: of all its cells, and within the layers of the seeds."""

    def __init__(self, block: ProductBlock, seeds: Sequence[SeedActivations], *, tf32: bool = False) -> None:
        self._block = block
        self._seeds = seeds
        self._tf32 = tf32
        self._cells: dict[Cell, CrossComoments] = {}
        self._within: dict[tuple[int, str, int], LayerComoments] = {}
        self.kinds = list(dict.fromkeys(cell.kind for cell in block))
        """The kinds of units that the block needs."""

    def update(self, number: int, x: dict[str, ShiftedUnits]) -> None:
        """Add a batch, by its number, of which the subject's units are ``x``."""
        for index in dict.fromkeys(cell.seed for cell in self._block):
            cells = [cell for cell in self._block if cell.seed == index]
            y = self._seeds[index].selection_units(number, [cell.kind for cell in cells])
            for cell in cells:
                self._update_cell(cell, x[cell.kind], y[cell.kind])

    def _update_cell(self, cell: Cell, x: ShiftedUnits, y: ShiftedUnits) -> None:
        columns = self._seeds[cell.seed].columns(cell.kind)
        layers = columns[slice(*cell.layers)]
        rows, others = x[slice(*cell.rows)], y[slice(layers[0].start, layers[-1].stop)]
        if cell not in self._cells:
            self._cells[cell] = CrossComoments.zeros(rows.shift, others.shift)
        with tf32_products(on=self._tf32):
            self._cells[cell].update(rows, others)
        for layer in range(*cell.layers) if cell.within else ():
            of_layer, key = y[columns[layer]], (cell.seed, cell.kind, layer)
            if key not in self._within:
                self._within[key] = LayerComoments.zeros(of_layer.shift)
            self._within[key].update(of_layer)

    @property
    def _layers(self) -> list[tuple[int, str, int]]:
        """The layers of seeds whose own covariances are computed."""
        cells = [cell for cell in self._block if cell.within]
        return list(dict.fromkeys((cell.seed, cell.kind, layer) for cell in cells for layer in range(*cell.layers)))

    def as_tensors(self) -> list[dict[str, Tensor] | None]:
        """All sums by name, [unit] or [unit, unit], cell by cell, then layer by layer; None where nothing was added."""
        held = (*(self._cells.get(cell) for cell in self._block), *map(self._within.get, self._layers))
        return [None if sums is None else sums.as_tensors() for sums in held]

    def join(self, own: list[dict[str, Tensor] | None], processes: ProcessGroup, device: Any) -> None:
        """Become the sum over all processes, of which ``own`` is what ``as_tensors`` returned on this one.

        ``own`` is used up: each part is let go of when the sum of it is made.
        """
        self._cells, self._within = {}, {}
        own.reverse()
        for cell in self._block:
            self._cells[cell] = _reduced(CrossComoments, own.pop(), processes, device)
        for layer in self._layers:
            self._within[layer] = _reduced(LayerComoments, own.pop(), processes, device)

    def finished(self) -> Iterator[tuple[Cell, CrossComoments]]:
        """The co-moments of every cell, each given away; those within layers go to the seeds."""
        for (index, kind, layer), within in self._within.items():
            self._seeds[index].learn(kind, layer, within)
        self._within.clear()
        while self._cells:
            cell = next(iter(self._cells))
            yield cell, self._cells.pop(cell)


def _reduced(kind: type[AnySums], own: dict[str, Tensor] | None, processes: ProcessGroup, device: Any) -> AnySums:
    sums = None if own is None else kind.from_tensors({name: part.to(device) for name, part in own.items()})
    return processes.all_reduce(sums, device)
