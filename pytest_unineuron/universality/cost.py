"""The cost of comparing a model with further seeds: operations and bytes of memory. Imports no torch.

This is the one place for these formulas: `pytest-unineuron plan` shows them, and `match` keeps to them. Let N be the
units of the model and N' those of a seed, in layers of m; T the tokens of the selection split, where partners are
chosen, and U those of the held-out split, where they are read; D the random bases of a kind of units; and B the bytes
of a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_unineuron.universality.kinds import KINDS

Sizes = Mapping[str, Sequence[int]]
"""How many units a model has, by kind, layer by layer."""

SEARCH_BYTES = 2**25
"""Size of the block of correlations that is searched at once: small enough to be quick, large enough for a product."""
MIN_ROWS = 64
"""Rows of a product that is still efficient."""
MIN_POSITIONS = 256
"""Positions of the smallest batch, whatever the memory: the mean over heads needs several rows."""
DRAWING_BYTES = 40
"""Bytes for each number of a random basis while it is drawn by a QR decomposition in float64."""
COVARIANCE_COPIES = 8
"""Copies of a layer's covariances, at most, while the standard deviation along directions is computed."""


@dataclass(frozen=True)
class ComparisonCost:
    """The cost of comparing a model with seeds, from sizes alone.

    ``batch_tokens`` is the most tokens compared in one batch, and ``forward_bytes`` what a forward pass takes by
    itself. ``known_seeds`` are those whose covariances within layers an earlier comparison has computed.
    """

    subject: Sizes
    seeds: tuple[Sizes, ...]
    selection_tokens: int
    held_out_tokens: int
    batch_tokens: int
    n_bases: Mapping[str, int] = field(default_factory=lambda: {name: kind.bases for name, kind in KINDS.items()})
    bytes_per_number: int = 4
    forward_bytes: int = 0
    n_groups: int = 8
    known_seeds: frozenset[int] = frozenset()

    @property
    def kinds(self) -> list[str]:
        """The kinds of units that the model and all seeds have."""
        return [kind for kind, sizes in self.subject.items() if all(map(sum, (sizes, *(s[kind] for s in self.seeds))))]

    @property
    def _bases(self) -> list[tuple[str, int]]:
        """The kinds of units, each with its number of random bases."""
        return [(kind, self.n_bases[kind]) for kind in self.kinds]

    # -- operations ------------------------------------------------------------------------------------------

    @property
    def pairs(self) -> int:
        """Pairs of units that are correlated: Σ N·N', over kinds and seeds."""
        return sum(sum(self.subject[kind]) * sum(seed[kind]) for seed in self.seeds for kind in self.kinds)

    @property
    def product_operations(self) -> int:
        """Operations of the products with the seeds: 2·N·N'·T."""
        return 2 * self.pairs * self.selection_tokens

    @property
    def layer_operations(self) -> int:
        """Operations of the covariances within the layers of the seeds: Σ m²·T, as these are symmetric."""
        return self.selection_tokens * sum(sum_of_squares(seed, self.kinds) for seed in self.seeds)

    @property
    def basis_operations(self) -> int:
        """Operations in random bases: 2·(D+1)·(N+m)·Σ m² to find partners, 2·D·Σ m²·U to read them."""
        return sum(
            2 * m * m * ((bases + 1) * (sum(self.subject[kind]) + m) + bases * self.held_out_tokens)
            for seed in self.seeds
            for kind, bases in self._bases
            for m in seed[kind]
        )

    # -- bytes of results ------------------------------------------------------------------------------------

    @property
    def product_bytes(self) -> int:
        """All products: B·N·N'."""
        return self.bytes_per_number * self.pairs

    @property
    def layer_bytes(self) -> int:
        """The covariances within the layers of the seeds: B·Σ m²."""
        return self.bytes_per_number * sum(sum_of_squares(seed, self.kinds) for seed in self.seeds)

    @property
    def choice_bytes(self) -> int:
        """The choices: for every unit a partner, ρ and a sign in each comparison with each seed."""
        return len(self.seeds) * sum(24 * (2 + bases) * sum(self.subject[kind]) for kind, bases in self._bases)

    @property
    def pair_bytes(self) -> int:
        """The sums of chosen pairs for every group of documents."""
        numbers = sum((3 * (1 + bases) + 2) * sum(self.subject[kind]) for kind, bases in self._bases)
        return len(self.seeds) * 8 * self.n_groups * numbers

    @property
    def cache_bytes(self) -> int:
        """A finished comparison on disk."""
        comparison, layers = 8 + 2 * self.bytes_per_number, 2 * 8
        choices = sum(
            ((1 + bases) * comparison + self.bytes_per_number + layers) * sum(self.subject[kind])
            for kind, bases in self._bases
        )
        return len(self.seeds) * choices + self.pair_bytes

    # -- bytes at work ---------------------------------------------------------------------------------------

    @property
    def drawing_bytes(self) -> int:
        """Memory while random bases are drawn, before anything else is there."""
        return DRAWING_BYTES * self._widest**2 + self._basis_bytes

    @property
    def working_bytes(self) -> int:
        """Memory beside the products: one batch of the model and of a seed, or what finishes one layer."""
        batch = self.forward_bytes + self.bytes_per_number * self.batch_tokens * (
            self._subject_units + self._seed_units
        )
        finishing = self.bytes_per_number * COVARIANCE_COPIES * self._widest**2 + 4 * self._search_bytes
        return max(batch, finishing) + self._basis_bytes + self.choice_bytes

    @property
    def held_out_bytes(self) -> int:
        """Memory while chosen pairs are read, when the products are gone: one batch, in several copies.

        Two copies of the model's units, and four of a seed's, which are also rotated.
        """
        batch = self.bytes_per_number * self.batch_tokens * (2 * self._subject_units + 4 * self._seed_units)
        return self.forward_bytes + batch + self._basis_bytes + self.choice_bytes + self.pair_bytes

    @property
    def least_bytes(self) -> int:
        """The least memory in which it can be done.

        That is one layer of a seed by a few rows beside the working memory, or one batch while pairs are read, or a
        basis while it is drawn, whichever is most.
        """
        products = [
            m * m + m * min(sum(self.subject[kind]), MIN_ROWS)
            for seed in self.seeds
            for kind in self.kinds
            for m in seed[kind]
        ]
        least = self.working_bytes + self.bytes_per_number * max(products, default=0)
        return max(least, self.held_out_bytes, self.drawing_bytes)

    def selection_bytes(self, sizes: Sizes) -> int:
        """The units of one model at all tokens of the selection split: B·N·T."""
        return self.bytes_per_number * self.selection_tokens * count_units(sizes, self.kinds)

    def rotated_bytes(self, sizes: Sizes) -> int:
        """The units of a seed at all tokens of the held-out split, in every random basis too: B·N·(1+D)·U."""
        numbers = sum((1 + bases) * sum(sizes[kind]) for kind, bases in self._bases)
        return self.bytes_per_number * self.held_out_tokens * numbers

    def kept_bytes(self, sizes: Sizes, room: float) -> tuple[int, int]:
        """Memory in which a seed keeps its activations within ``room``: of the selection and the held-out split."""
        selection, held_out = self.selection_bytes(sizes), self.rotated_bytes(sizes)
        if selection > room:
            return 0, 0
        return selection, held_out if selection + held_out <= room else 0

    @property
    def _subject_units(self) -> int:
        return count_units(self.subject, self.kinds)

    @property
    def _seed_units(self) -> int:
        return max((count_units(seed, self.kinds) for seed in self.seeds), default=0)

    @property
    def _widths(self) -> set[int]:
        return {m for seed in self.seeds for kind in self.kinds for m in seed[kind]}

    @property
    def _widest(self) -> int:
        return max(self._widths, default=0)

    @property
    def _basis_bytes(self) -> int:
        bases: dict[int, int] = {}  # by width
        for seed in self.seeds:
            for kind, number in self._bases:
                bases |= {m: max(number, bases.get(m, 0)) for m in seed[kind]}
        return (4 + self.bytes_per_number) * sum(number * m * m for m, number in bases.items())

    @property
    def _search_bytes(self) -> int:
        """The block of correlations with the widest layer that is searched at once."""
        rows = max((sum(self.subject[kind]) for kind in self.kinds), default=0)
        width = self._widest
        return self.bytes_per_number * width * min(rows, search_rows(width, self.bytes_per_number))


def search_rows(width: int, bytes_per_number: int) -> int:
    """Rows of correlations with a layer of this width that are searched at once."""
    return max(MIN_ROWS, SEARCH_BYTES // (bytes_per_number * max(1, width)))


def batch_positions(most: int, n_units: int, bytes_per_number: int, memory: float) -> int:
    """Positions of a batch: as many as asked for, unless they would take most of the memory of the held-out split.

    ``n_units`` are the units of a model. Only the norms of heads depend on it, as a mean over the batch is taken off.
    """
    share = 3 / 8  # the seeds' own activations may take half of the memory
    while most > MIN_POSITIONS and most * 6 * bytes_per_number * n_units > share * memory:  # see held_out_bytes
        most //= 2
    return most


def seed_room(memory: float, seeds: int) -> float:
    """Memory in which one seed may keep its activations: half of all is for two texts, half is for products."""
    return memory / (4 * seeds)


def forward_bytes(positions: int, width: int, neurons: int, bytes_per_number: int, streams: int = 1) -> int:
    """Memory of a forward pass over so many positions by itself, roughly.

    That is what one layer works with, and the residual stream after as many layers as ``streams`` says.
    """
    return positions * bytes_per_number * (width * (streams + 8) + 3 * neurons)


def count_units(sizes: Sizes, kinds: Sequence[str] | None = None) -> int:
    """How many units a model has of these kinds, or of all."""
    return sum(sum(sizes[kind]) for kind in (sizes if kinds is None else kinds))


def sum_of_squares(sizes: Sizes, kinds: Sequence[str]) -> int:
    """Σ m² over layers."""
    return sum(m * m for kind in kinds for m in sizes[kind])
