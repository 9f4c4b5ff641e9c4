"""Sums of products of the units of a model with those of its seeds, gathered block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.statistics.correlation import CrossComoments, LayerComoments
from pytest_unineuron.statistics.tf32 import tf32_products
from pytest_unineuron.universality.reader import Reader
from pytest_unineuron.universality.seeds import task_of
from pytest_unineuron.universality.units import KINDS, Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.distributed.single_process import ProcessGroup
    from pytest_unineuron.distributed.single_process import Sums as Sums_
    from pytest_unineuron.statistics.correlation import ShiftedUnits
    from pytest_unineuron.universality.cost import Block, Cell
    from pytest_unineuron.universality.seeds import Counterpart


class Sums:
    """The co-moments of one block, gathered batch by batch: of all its cells, and within layers of the seeds."""

    def __init__(self, block: Block, seeds: Sequence[Counterpart], *, fast: bool = False) -> None:
        self._block = block
        self._seeds = seeds
        self._fast = fast
        self._cells: dict[Cell, CrossComoments] = {}
        self._within: dict[tuple[int, str, int], LayerComoments] = {}
        self.wanted = {
            kind: _spanning([slice(*cell.rows) for cell in block if cell.kind == kind])
            for kind in dict.fromkeys(cell.kind for cell in block)
        }

    def take(self, number: int, x: dict[str, ShiftedUnits]) -> None:
        """Add a batch, by its number, that the subject read as ``x``."""
        for index in dict.fromkeys(cell.seed for cell in self._block):
            cells = [cell for cell in self._block if cell.seed == index]
            self._take_seed(number, x, index, cells)

    def _take_seed(self, number: int, x: dict[str, ShiftedUnits], index: int, cells: list[Cell]) -> None:
        seed = self._seeds[index]
        wanted = {
            kind: _spanning([self._columns(cell) for cell in cells if cell.kind == kind])
            for kind in dict.fromkeys(cell.kind for cell in cells)
        }
        y = seed.units(number, wanted)
        for cell in cells:
            rows, columns = x[cell.kind][slice(*cell.rows)], y[cell.kind][self._columns(cell)]
            if cell not in self._cells:
                self._cells[cell] = CrossComoments.zeros(rows.shift, columns.shift)
            with tf32_products(on=self._fast):
                self._cells[cell].update(rows, columns)
            for layer in range(*cell.layers) if cell.within else ():
                of_layer = y[cell.kind][seed.columns(cell.kind)[layer]]
                key = index, cell.kind, layer
                if key not in self._within:
                    self._within[key] = LayerComoments.zeros(of_layer.shift)
                self._within[key].update(of_layer)

    def _columns(self, cell: Cell) -> slice:
        return _spanning(self._seeds[cell.seed].columns(cell.kind)[slice(*cell.layers)])

    def as_tensors(self) -> list[dict[str, Tensor] | None]:
        """All it holds, cell by cell and then layer by layer; None where nothing was taken."""
        held = (*(self._cells.get(cell) for cell in self._block), *map(self._within.get, self._layers))
        return [None if sums is None else sums.as_tensors() for sums in held]

    def join(self, own: list[dict[str, Tensor] | None], processes: ProcessGroup, device: Any) -> None:
        """Become the sum over all processes, of which ``own`` is what ``as_tensors`` told on this one; uses it up."""
        self._cells, self._within = {}, {}  # every part is let go of when the sum of it is made
        own.reverse()
        for cell in self._block:
            self._cells[cell] = _total(CrossComoments, own.pop(), processes, device)
        for layer in self._layers:
            self._within[layer] = _total(LayerComoments, own.pop(), processes, device)

    @property
    def _layers(self) -> list[tuple[int, str, int]]:
        """The layers of seeds whose own covariances are gathered."""
        return list(
            dict.fromkeys(
                (cell.seed, cell.kind, layer) for cell in self._block if cell.within for layer in range(*cell.layers)
            )
        )

    def finished(self) -> Iterator[tuple[Cell, CrossComoments]]:
        """The co-moments of every cell, each given away; what lies within layers goes to the seeds."""
        for (index, kind, layer), within in self._within.items():
            self._seeds[index].learn(kind, layer, within)
        self._within.clear()
        while self._cells:
            cell = next(iter(self._cells))
            yield cell, self._cells.pop(cell)


def _total(kind: type[Sums_], own: dict[str, Tensor] | None, processes: ProcessGroup, device: Any) -> Sums_:
    sums = None if own is None else kind.from_tensors({name: part.to(device) for name, part in own.items()})
    return processes.all_reduce(sums, device)


def _spanning(parts: Sequence[slice]) -> slice:
    """From the first to the last of these."""
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def gather(
    subject: Member, batches: Sequence[Batch], seeds: Sequence[Counterpart], *, kinds: Sequence[str] = KINDS
) -> dict[tuple[str, int], CrossComoments]:
    """The co-moments of the subject's units with those of every seed on the choosing half, by kind and seed.

    All in one block, whatever memory it takes. What lies within the layers of the seeds is gathered as well.
    """
    task = task_of(subject, batches, seeds, kinds)
    (block,) = task.blocks(float("inf"))
    sums, reader = Sums(block, seeds), Reader(subject, batches, kinds)
    for number, batch in enumerate(batches):
        if batch.group % 2 == 0 and batch.n_compared:
            sums.take(number, reader.units(number))
    return {(cell.kind, cell.seed): found for cell, found in sums.finished()}
