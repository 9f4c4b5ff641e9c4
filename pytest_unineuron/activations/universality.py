"""Excess correlation across seeds: how well every unit is matched in another model, beyond a random basis.

The partner of a unit is chosen on one half of the document groups, which needs one large product per batch;
its correlation is then read on the other half, group by group, pair by pair. What is chosen and read for random
bases in the same way is the baseline. So nothing is read where it was chosen, and every number has a
delete-a-group interval. Where memory allows, a model reads the text once, whatever the number of seeds; where it
does not, the products are taken in blocks, see budget.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations import budget, spill
from pytest_unineuron.activations.budget import AGAIN, Cell
from pytest_unineuron.activations.counterpart import task_of
from pytest_unineuron.activations.ranks import ALONE, Ranks, S, anew
from pytest_unineuron.activations.reader import Reader
from pytest_unineuron.activations.units import HEADS, KINDS, NEURONS, Member
from pytest_unineuron.statistics.correlation import Best, Centred, Covariation, Pairs, Search, Within
from pytest_unineuron.statistics.tf32 import allowed, tf32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.budget import Block, Rates
    from pytest_unineuron.activations.counterpart import Counterpart
    from pytest_unineuron.activations.ranks import Keep
    from pytest_unineuron.activations.sweep import Sweeper
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.statistics.correlation import Shifted

    Read = dict[tuple[str, int], dict[int, Pairs]]
    """What was read for the pairs of a kind and a seed, by document group."""
    Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for the units of one kind in one seed.

    ``direct`` is the best unit of the seed for each unit, ``rotated`` the best direction in each random basis
    of its standardised units, ``raw`` the best ρ in one basis of unstandardised ones, the paper's baseline.
    """

    direct: Best
    rotated: tuple[Best, ...]
    raw: Tensor

    @property
    def all(self) -> tuple[Best, ...]:
        """What is compared: the unit, then one direction per random basis."""
        return self.direct, *self.rotated


@dataclass(frozen=True, eq=False)
class Matches:
    """The units of one kind of a model, matched in one seed.

    ``layer`` and ``partner_layer`` are [unit]. ``pairs`` holds, for each document group of the reading half,
    the sums of all comparisons, [1 + draw, unit]: the partner first, then one direction per random basis.
    ``sign`` is [1 + draw, unit]. Units without a partner, having never varied, are nan throughout.
    """

    choice: Choice
    layer: Tensor
    partner_layer: Tensor
    pairs: tuple[Pairs, ...]

    @property
    def sign(self) -> Tensor:
        """The sign each comparison was chosen with."""
        return torch.stack([chosen.sign for chosen in self.choice.all])


def match(
    subject: Member,
    batches: Sequence[Batch],
    seeds: Sequence[Counterpart],
    *,
    kinds: Sequence[str] = KINDS,
    memory: float = 8e9,
    sweeper: Sweeper | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    title: str = "comparison",
    rates: Rates | None = None,
    ranks: Ranks = ALONE,
    keep: Keep = anew,
) -> dict[str, list[Matches]]:
    """How the units of ``subject``, reading ``batches``, are matched in every one of ``seeds``, by kind of unit.

    The batches are those that the seeds read, with tokens in the same places. All that is needed beside the models
    and what the seeds keep stays within ``memory`` (bytes): where products do not fit, they are taken in blocks, and
    activations are kept, spilled to disk or computed again, whichever is estimated to be the quickest from the
    ``rates`` of this machine (measured, if not given). ``announce`` is told so in one line before it starts. A
    ``sweeper`` gathers its statistics from the same pass. Raises OptionError if there is too little memory.

    On a GPU partners are chosen by products in TF32 where their rounding is less than chance, see tf32; that goes
    for the paper's ϱ too, which is read where it was chosen. What is read for chosen pairs is float32.

    ``ranks`` share the batches: each gathers sums over its own, which are added up before anything is chosen, and
    again when all is read; ``keep`` keeps the part of each of them.
    """
    task = task_of(subject, batches, seeds, kinds)
    blocks, places = task.blocks(memory), [seed.place for seed in seeds]
    place = AGAIN
    if len(blocks) > 1:
        rates = rates or ranks.agreed(lambda: measured(subject, batches))
        ways = budget.ways(task, memory, places, rates)
        blocks, (place, *places) = list(ways[0].blocks), ways[0].places
        if announce:
            announce(budget.told(title, memory, ways))
    for seed, there in zip(seeds, places, strict=True):
        seed.place = there
        seed.draw()
    choosing, reading = (
        ranks.share([n for n, batch in enumerate(batches) if batch.group % 2 == half and (sweeper or batch.compared)])
        for half in (0, 1)
    )
    again = [number for number in choosing if batches[number].compared]
    passes = [choosing, *[again] * (len(blocks) - 1)]
    steps = [number for of_block in (*passes, reading) for number in of_block]
    ticks = iter(progress(steps) if progress else steps)  # one bar over all blocks
    searches = {
        (kind, index): Searching(seed, kind, sum(subject.sizes(kind)), absolute=_signless(subject, kind))
        for index, seed in enumerate(seeds)
        for kind in task.kinds
    }
    fast = allowed(task.choosing, subject.model.device.type, subject.dtype)
    with Reader(subject, batches, task.kinds, place) as reader:
        for block, numbers in zip(blocks, passes, strict=True):
            sums = Sums(block, seeds, fast=fast)

            def gathered(sums: Sums = sums, block: Block = block, numbers: Sequence[int] = numbers) -> Any:
                for number in numbers:
                    next(ticks)
                    units = reader.units(number, sums.wanted, sweeper if block is blocks[0] else None)
                    if units:
                        sums.take(number, units)
                return sums.as_tensors() if ranks.count > 1 else None

            own = keep(f"products, block {blocks.index(block) + 1} of {len(blocks)}", gathered)
            if ranks.count > 1:
                sums.join(own, ranks, subject.model.device)
            for cell, of_cell in sums.finished():
                searches[cell.kind, cell.seed].look(of_cell, cell)
            del sums  # before the next block's are made
    choices = ranks.agreed(lambda: {key: search.choice() for key, search in searches.items()})

    def read() -> Read:
        pairs: Read = {key: {} for key in choices}
        for number in reading:
            next(ticks)
            batch = batches[number]
            observed = subject.observe(batch, task.kinds, sweeper)
            if not batch.compared:
                continue
            xs = {kind: Centred.of(observed.pop(kind)) for kind in task.kinds}
            for index, seed in enumerate(seeds):
                ys = seed.compared(number)
                for kind in task.kinds:
                    partners = (best.partner.clamp_min(0) for best in choices[kind, index].all)
                    new = Pairs.among(xs[kind], zip(ys.pop(kind), partners, strict=True))
                    before = pairs[kind, index].get(batch.group)
                    pairs[kind, index][batch.group] = new if before is None else before + new
        return pairs

    pairs = reduce(_together, ranks.gathered(keep("pairs", read)))
    for _ in ticks:  # so that a bar knows it is done, also of what was finished before
        pass
    return {
        kind: [
            _matches(subject, seed.member, kind, choices[kind, index], pairs[kind, index])
            for index, seed in enumerate(seeds)
        ]
        for kind in task.kinds
    }


def measured(subject: Member, batches: Sequence[Batch]) -> Rates:
    """How fast this machine is: at one forward pass, and at writing and reading a few megabytes."""
    choosing = [batch for batch in batches if batch.group % 2 == 0 and batch.compared]
    start = time.perf_counter()
    subject.observe(choosing[0])
    took = time.perf_counter() - start
    positions = sum(batch.ids.numel() for batch in choosing) / choosing[0].ids.numel()
    return budget.Rates(took * positions, *spill.rates())


def _together(one: Read, other: Read) -> Read:
    """What was read of different batches, for the same choices."""
    return {
        key: {
            group: reduce(add, (part[group] for part in (of_one, other[key]) if group in part))
            for group in of_one.keys() | other[key].keys()
        }
        for key, of_one in one.items()
    }


class Sums:
    """The co-moments of one block, gathered batch by batch: of all its cells, and within layers of the seeds."""

    def __init__(self, block: Block, seeds: Sequence[Counterpart], *, fast: bool = False) -> None:
        self._block = block
        self._seeds = seeds
        self._fast = fast
        self._cells: dict[Cell, Covariation] = {}
        self._within: dict[tuple[int, str, int], Within] = {}
        self.wanted = {kind: _spanning([slice(*cell.rows) for cell in block if cell.kind == kind])
                       for kind in dict.fromkeys(cell.kind for cell in block)}  # fmt: skip

    def take(self, number: int, x: dict[str, Shifted]) -> None:
        """Add a batch, by its number, that the subject read as ``x``."""
        for index in dict.fromkeys(cell.seed for cell in self._block):
            cells = [cell for cell in self._block if cell.seed == index]
            self._take_seed(number, x, index, cells)

    def _take_seed(self, number: int, x: dict[str, Shifted], index: int, cells: list[Cell]) -> None:
        seed = self._seeds[index]
        wanted = {kind: _spanning([self._columns(cell) for cell in cells if cell.kind == kind])
                  for kind in dict.fromkeys(cell.kind for cell in cells)}  # fmt: skip
        y = seed.units(number, wanted)
        for cell in cells:
            rows, columns = x[cell.kind][slice(*cell.rows)], y[cell.kind][self._columns(cell)]
            if cell not in self._cells:
                self._cells[cell] = Covariation(rows.shift, columns.shift)
            with tf32(on=self._fast):
                self._cells[cell].take(rows, columns)
            for layer in range(*cell.layers) if cell.within else ():
                of_layer = y[cell.kind][seed.columns(cell.kind)[layer]]
                key = index, cell.kind, layer
                if key not in self._within:
                    self._within[key] = Within(of_layer.shift)
                self._within[key].take(of_layer)

    def _columns(self, cell: Cell) -> slice:
        return _spanning(self._seeds[cell.seed].columns(cell.kind)[slice(*cell.layers)])

    def as_tensors(self) -> list[dict[str, Tensor] | None]:
        """All it holds, cell by cell and then layer by layer; None where nothing was taken."""
        held = (*(self._cells.get(cell) for cell in self._block), *map(self._within.get, self._layers))
        return [None if sums is None else sums.as_tensors() for sums in held]

    def join(self, own: list[dict[str, Tensor] | None], ranks: Ranks, device: Any) -> None:
        """Become the sum over all ranks, of which ``own`` is what ``as_tensors`` told on this one."""
        parts = iter(own)
        self._cells = {cell: _total(Covariation, next(parts), ranks, device) for cell in self._block}
        self._within = {layer: _total(Within, next(parts), ranks, device) for layer in self._layers}

    @property
    def _layers(self) -> list[tuple[int, str, int]]:
        """The layers of seeds whose own covariances are gathered."""
        return list(dict.fromkeys((cell.seed, cell.kind, layer) for cell in self._block if cell.within
                                  for layer in range(*cell.layers)))  # fmt: skip

    def finished(self) -> Iterator[tuple[Cell, Covariation]]:
        """The co-moments of every cell, each given away; what lies within layers goes to the seeds."""
        for (index, kind, layer), within in self._within.items():
            self._seeds[index].learn(kind, layer, within)
        self._within.clear()
        while self._cells:
            cell = next(iter(self._cells))
            yield cell, self._cells.pop(cell)


def _total(kind: type[S], own: dict[str, Tensor] | None, ranks: Ranks, device: Any) -> S:
    sums = None if own is None else kind.of_tensors({name: part.to(device) for name, part in own.items()})
    return ranks.total(sums, device)


def _spanning(parts: Sequence[slice]) -> slice:
    """From the first to the last of these."""
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def gather(
    subject: Member, batches: Sequence[Batch], seeds: Sequence[Counterpart], *, kinds: Sequence[str] = KINDS
) -> dict[tuple[str, int], Covariation]:
    """The co-moments of the subject's units with those of every seed on the choosing half, by kind and seed.

    All in one block, whatever memory it takes. What lies within the layers of the seeds is gathered as well.
    """
    task = task_of(subject, batches, seeds, kinds)
    (block,) = task.blocks(float("inf"))
    sums, reader = Sums(block, seeds), Reader(subject, batches, kinds)
    for number, batch in enumerate(batches):
        if batch.group % 2 == 0 and batch.compared:
            sums.take(number, reader.units(number))
    return {(cell.kind, cell.seed): found for cell, found in sums.finished()}


def choose(sums: Covariation, seed: Counterpart, kind: str, *, absolute: bool) -> Choice:
    """Partners by the sums of the choosing half, directly and in random bases."""
    search = Searching(seed, kind, sums.shape[0], absolute=absolute)
    search.look(sums, Cell(kind, 0, (0, sums.shape[0]), (0, len(seed.columns(kind))), within=False))
    return search.choice()


class Searching:
    """What has been chosen so far for the units of one kind in one seed, block by block."""

    def __init__(self, seed: Counterpart, kind: str, units: int, *, absolute: bool) -> None:
        self._seed = seed
        self._kind = kind
        self._direct, self._raw, *self._rotated = (Search(units, absolute=absolute) for _ in range(2 + seed.draws))

    def look(self, sums: Covariation, cell: Cell) -> None:
        """At the correlations of a cell, with units and with the directions of random bases."""
        columns = self._seed.columns(self._kind)
        origin = columns[cell.layers[0]].start
        for layer in range(*cell.layers):
            start, stop = columns[layer].start, columns[layer].stop
            here = slice(start - origin, stop - origin)
            for rows, of_cell in self._rows(cell, stop - start):
                self._direct.look(sums.correlation(here, of_cell), start, rows)
            for search, draw, standardised in (
                *((search, draw, True) for draw, search in enumerate(self._rotated)),
                (self._raw, 0, False),
            ):
                directions = self._seed.directions(self._kind, layer, draw, standardised=standardised)
                for rows, of_cell in self._rows(cell, stop - start):
                    search.look(sums.rotated(here, directions, of_cell), start, rows)

    def _rows(self, cell: Cell, width: int) -> Iterator[tuple[slice, slice]]:
        """The rows of a cell a few at a time: among all units, and within the cell."""
        start, stop = cell.rows
        size = budget.rows_at_once(width, self._seed.member.dtype.itemsize)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield slice(first, last), slice(first - start, last - start)

    def choice(self) -> Choice:
        """What was found when all blocks were looked at."""
        return Choice(self._direct.best(), tuple(search.best() for search in self._rotated),
                      self._raw.best().correlation)  # fmt: skip


def _signless(subject: Member, kind: str) -> bool:
    """Whether the sign of a unit is arbitrary: a gated or rotated neuron, a direction of a stream; not a norm."""
    if kind == NEURONS:
        return subject.change is not None or any(site.gated for site in subject.anatomy.plan.sites)
    return kind != HEADS


def _matches(subject: Member, member: Member, kind: str, choice: Choice, pairs: dict[int, Pairs]) -> Matches:
    layers = torch.tensor(member.layers(kind))
    partner = choice.direct.partner.cpu()
    return Matches(
        choice=choice,
        layer=torch.tensor(subject.layers(kind)),
        partner_layer=torch.where(partner < 0, -1, layers[partner.clamp_min(0)]),
        pairs=tuple(pairs[group] for group in sorted(pairs)),
    )
