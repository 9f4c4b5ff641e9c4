"""What comparing a model with further seeds takes: numbers to multiply, bytes to hold, blocks to do it in. No torch.

The one place for these formulas: `plan` shows them, `match` keeps to them. Let N be the units of the model and N'
those of a seed, in layers of m; T the tokens at which partners are chosen, U those at which they are read, D random
bases, and B bytes to a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pytest_unineuron.errors import OptionError

Sizes = Mapping[str, Sequence[int]]
"""How many units a model has, by kind, layer by layer."""

ITEM = {"float64": 8}
"""Bytes of a number that is summed, by the precision of a model; four in all others, which are widened."""
TILE_BYTES = 2**25
"""Correlations that are looked at together, where there is room: few enough to be quick, many enough for a product."""
DRAWS = 3
"""Random bases; the baseline is the mean over them."""
LEAST = 256
"""Positions of a batch that is not made smaller, whatever the memory: heads need several rows."""
FEWEST = 64
"""Rows of a product: with fewer it is no product any more."""
BASIS = 40
"""Bytes for each number of a random basis while it is drawn: a QR decomposition in float64."""
SQUARES = 8
"""Copies of a layer's covariances, at most, while the deviation along directions is found."""
GIB = 2**30


@dataclass(frozen=True)
class Cell:
    """A part of the correlations of one kind with one seed: some rows by some of the seed's layers, as ranges.

    ``within`` is whether the covariances within these layers of the seed are gathered as well.
    """

    kind: str
    seed: int
    rows: tuple[int, int]
    layers: tuple[int, int]
    within: bool


Block = tuple[Cell, ...]
"""What is gathered together, in one reading of the text."""


@dataclass(frozen=True)
class Task:
    """A comparison: who, at how many tokens, and how many of them at once.

    ``batch`` is the most tokens looked at in one batch, ``passing`` the bytes that a forward pass takes by itself.
    ``known`` are the seeds whose own covariances an earlier comparison has found.
    """

    subject: Sizes
    seeds: tuple[Sizes, ...]
    choosing: int
    reading: int
    batch: int
    draws: int = DRAWS
    item: int = 4
    passing: int = 0
    groups: int = 8
    known: frozenset[int] = frozenset()

    @property
    def kinds(self) -> list[str]:
        """The kinds of units that the model and all seeds have."""
        return [kind for kind, sizes in self.subject.items() if all(map(sum, (sizes, *(s[kind] for s in self.seeds))))]

    @property
    def pairs(self) -> int:
        """Pairs of units that are correlated: Σ N·N', over kinds and seeds."""
        return sum(sum(self.subject[kind]) * sum(seed[kind]) for seed in self.seeds for kind in self.kinds)

    @property
    def product(self) -> int:
        """Operations of the products with the seeds: 2·N·N'·T."""
        return 2 * self.pairs * self.choosing

    @property
    def half_products(self) -> int:
        """Operations of the covariances within the layers of the seeds: Σ m²·T, as these are symmetric."""
        return self.choosing * sum(squares(seed, self.kinds) for seed in self.seeds)

    @property
    def bases(self) -> int:
        """Operations in random bases: 2·(D+1)·(N+m)·Σ m² to find partners, 2·D·Σ m²·U to read them."""
        return sum(
            2 * m * m * ((self.draws + 1) * (sum(self.subject[kind]) + m) + self.draws * self.reading)
            for seed in self.seeds
            for kind in self.kinds
            for m in seed[kind]
        )

    @property
    def cross(self) -> int:
        """Bytes of all products: B·N·N'."""
        return self.item * self.pairs

    @property
    def within(self) -> int:
        """Bytes of the covariances within layers: B·Σ m²."""
        return self.item * sum(squares(seed, self.kinds) for seed in self.seeds)

    @property
    def choices(self) -> int:
        """Bytes of what is chosen: for every unit a partner, ρ and a sign in each comparison with each seed."""
        return len(self.seeds) * self._own * 24 * (2 + self.draws)

    @property
    def results(self) -> int:
        """Bytes of what is read: sums of chosen pairs for every group of documents."""
        return len(self.seeds) * self._own * 8 * self.groups * (3 * (1 + self.draws) + 2)

    @property
    def entry(self) -> int:
        """Bytes of a finished comparison as it is kept on disk."""
        comparisons = 1 + self.draws
        chosen = comparisons * (8 + 2 * self.item) + self.item + 2 * 8  # and the two layers
        return len(self.seeds) * self._own * chosen + self.results

    @property
    def drawing(self) -> int:
        """Bytes while random bases are drawn, before anything else is there."""
        return BASIS * self._widest**2 + self._bases

    @property
    def working(self) -> int:
        """Bytes beside the products: one batch of the model and of a seed, or what finishes one layer."""
        batch = self.passing + self.item * self.batch * (self._own + self._others)
        finishing = self.item * SQUARES * self._widest**2 + 4 * self.tile(self._widest)
        return max(batch, finishing) + self._bases + self.choices

    @property
    def comparing(self) -> int:
        """Bytes while chosen pairs are read, when the products are gone: one batch, in several copies.

        Of the model as it was observed and about its mean, of a seed also in a random basis.
        """
        batch = self.item * self.batch * (2 * self._own + 4 * self._others)
        return self.passing + batch + self._bases + self.choices + self.results

    @property
    def _own(self) -> int:
        return units(self.subject, self.kinds)

    @property
    def _others(self) -> int:
        return max((units(seed, self.kinds) for seed in self.seeds), default=0)

    @property
    def _widths(self) -> set[int]:
        return {m for seed in self.seeds for kind in self.kinds for m in seed[kind]}

    @property
    def _widest(self) -> int:
        return max(self._widths, default=0)

    @property
    def _bases(self) -> int:
        return (4 + self.item) * self.draws * sum(m * m for m in self._widths)

    def tile(self, width: int) -> int:
        """Bytes of correlations with a layer of this width that are looked at together."""
        rows = max((sum(self.subject[kind]) for kind in self.kinds), default=0)
        return self.item * width * min(rows, rows_at_once(width, self.item))

    def kept(self, sizes: Sizes) -> int:
        """Bytes of the units of one model at all tokens where partners are chosen: B·N·T."""
        return self.item * self.choosing * units(sizes, self.kinds)

    def kept_to_read(self, sizes: Sizes) -> int:
        """Bytes of what is compared where partners are read, units and random bases: B·N·(1+D)·U."""
        return self.item * self.reading * (1 + self.draws) * units(sizes, self.kinds)

    def bytes_of(self, cell: Cell) -> int:
        """Bytes of the products of a cell, and of the covariances within its layers if it gathers them."""
        sizes = self.seeds[cell.seed][cell.kind][slice(*cell.layers)]
        within = sum(m * m for m in sizes) if cell.within else 0
        return self.item * ((cell.rows[1] - cell.rows[0]) * sum(sizes) + within)

    def needs(self, block: Block) -> list[int]:
        """How many units a block needs of the subject, and of each seed."""
        found = [0] * (1 + len(self.seeds))
        for kind in self.kinds:
            rows = [cell.rows for cell in block if cell.kind == kind]
            found[0] += max((b for _, b in rows), default=0) - min((a for a, _ in rows), default=0)
        for cell in {(c.kind, c.seed, c.layers) for c in block}:
            found[1 + cell[1]] += sum(self.seeds[cell[1]][cell[0]][slice(*cell[2])])
        return found

    def blocks(self, memory: float) -> list[Block]:
        """The blocks to do it in within so many bytes.

        A seed is taken as a whole where it fits, else some of the rows at a time, else of these by some of the
        seed's layers. Raises OptionError that says what the least is.
        """
        if memory < self.least:
            raise OptionError(
                f"--unineuron-memory: comparing units with {len(self.seeds)} seeds has {gib(memory)} to work in and "
                f"takes at least {gib(self.least)} with batches of {self.batch} tokens; "
                f"say --unineuron-memory={math.ceil(2 * self.least / GIB)}, or a smaller --unineuron-batch"
            )
        packing = _Packing(self, memory - self.working)
        for seed in range(len(self.seeds)):
            for kind in self.kinds:
                packing.put(kind, seed)
        return packing.done()

    @property
    def least(self) -> int:
        """The least bytes in which it can be done: one layer of a seed by a few rows, beside a batch or a basis.

        Or one batch while pairs are read, or a basis while it is drawn, if that is more.
        """
        cells = [
            m * m + m * min(sum(self.subject[kind]), FEWEST)
            for seed in self.seeds
            for kind in self.kinds
            for m in seed[kind]
        ]
        return max(self.working + self.item * max(cells, default=0), self.comparing, self.drawing)


class _Packing:
    """Blocks, filled one after the other."""

    def __init__(self, task: Task, room: float) -> None:
        self._task = task
        self._room = room
        self._blocks: list[list[Cell]] = [[]]
        self._left = room

    def put(self, kind: str, seed: int) -> None:
        """All correlations of one kind with one seed."""
        task, within = self._task, seed not in self._task.known
        rows, layers = sum(task.subject[kind]), len(task.seeds[seed][kind])
        whole = Cell(kind, seed, (0, rows), (0, layers), within)
        if task.bytes_of(whole) <= self._room:
            self._add(whole)
            return
        for run in self._runs(kind, seed, within):
            start, first = 0, within
            while start < rows:
                columns = self._row_bytes(kind, seed, run)
                taken = task.bytes_of(Cell(kind, seed, (0, 0), run, first))
                if (height := (self._left - taken) // columns) < min(FEWEST, rows - start):
                    self._next()
                    height = (self._room - taken) // columns
                stop = self._aligned(kind, start, min(rows, start + int(height)))
                self._add(Cell(kind, seed, (start, stop), run, first))
                start, first = stop, False

    def _runs(self, kind: str, seed: int, within: bool) -> list[tuple[int, int]]:
        """The layers of a seed in runs, as long as some rows by one of them fit beside what is within them."""
        task, runs, start = self._task, [], 0
        layers = len(task.seeds[seed][kind])
        # Of all the room at least half is for the products, where one layer leaves so much.
        rows = min(sum(task.subject[kind]), FEWEST)
        for stop in range(1, layers + 1):
            longer = Cell(kind, seed, (0, rows), (start, stop + 1), within)
            if stop == layers or task.bytes_of(longer) > self._room // 2:
                runs.append((start, stop))
                start = stop
        return runs

    def _row_bytes(self, kind: str, seed: int, run: tuple[int, int]) -> int:
        return self._task.item * sum(self._task.seeds[seed][kind][slice(*run)])

    def _aligned(self, kind: str, start: int, stop: int) -> int:
        """The last end of a layer up to ``stop``, where there is one."""
        ends = [end for end in accumulate(self._task.subject[kind]) if start < end <= stop]
        return ends[-1] if ends else stop

    def _add(self, cell: Cell) -> None:
        size = self._task.bytes_of(cell)
        if size > self._left:
            self._next()
        self._left -= size
        self._blocks[-1].append(cell)

    def _next(self) -> None:
        if self._blocks[-1]:
            self._blocks.append([])
        self._left = self._room

    def done(self) -> list[Block]:
        return [tuple(cells) for cells in self._blocks if cells]


def rows_at_once(width: int, item: int) -> int:
    """How many rows of correlations with a layer of this width are looked at together."""
    return max(FEWEST, TILE_BYTES // (item * max(1, width)))


def at_once(most: int, of_one: int, item: int, memory: float) -> int:
    """Positions of a batch: as many as asked for, unless they would take most of the memory where pairs are read.

    ``of_one`` are the units of a model. Only what is usual for heads depends on it, as that is a mean over a batch.
    """
    share = 3 / 8  # the seeds' own activations may take half of the memory
    while most > LEAST and most * 6 * item * of_one > share * memory:  # see Task.comparing
        most //= 2
    return most


def held(task: Task, sizes: Sizes, room: float) -> tuple[int, int]:
    """Bytes of what is kept in memory of one seed in so much room: of the choosing half, and of the reading half."""
    choosing, reading = task.kept(sizes), task.kept_to_read(sizes)
    if choosing > room:
        return 0, 0
    return choosing, reading if choosing + reading <= room else 0


def room_of(memory: float, seeds: int) -> float:
    """Bytes in which one of so many seeds may keep its activations: half of all is for two texts, half for products."""
    return memory / (4 * seeds)


def passing(positions: int, width: int, neurons: int, item: int, kept: int = 1) -> int:
    """Bytes that a forward pass over so many positions takes by itself, roughly.

    That is what one layer works with, and the residual stream after as many layers as it is ``kept`` of.
    """
    return positions * item * (width * (kept + 8) + 3 * neurons)


def units(sizes: Sizes, kinds: Sequence[str] | None = None) -> int:
    """How many units a model has of these kinds."""
    return sum(sum(sizes[kind]) for kind in (sizes if kinds is None else kinds))


def squares(sizes: Sizes, kinds: Sequence[str]) -> int:
    """Σ m² over layers."""
    return sum(m * m for kind in kinds for m in sizes[kind])


def gib(number: float) -> str:
    """Bytes in words.

    >>> gib(2**31), gib(2**20)
    ('2 GiB', '0.000977 GiB')
    """
    return f"{number / GIB:.3g} GiB"
