"""Which unit of another model does every unit go with, and how well would a random direction do?

Everything comes from sums that are gathered once: the covariance of the units of two models, and the
covariance of the second model's units within each of its layers. A rotation R of a layer of the second model
has covariance ``C₁₂ Rᵀ`` with the first and variance ``diag(R C₂₂ Rᵀ)``, so the best direction of a random basis
is found without a second pass and without rotated activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch

from pytest_unineuron.statistics.gemm import add_product, product

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor


TILE = 256
"""Units that are taken at a time where a product is symmetric."""


def widened(units: Tensor) -> Tensor:
    """In the precision that products are taken in: float64 stays, everything else is float32."""
    return units if units.dtype == torch.float64 else units.float()


@dataclass(frozen=True, eq=False)
class ShiftedUnits:
    """The units of one model in one batch, about a shift near their mean, so that float32 sums are exact enough.

    ``values`` is [token, unit], float32 or float64; ``shift`` is [unit]. What it costs to sum them is paid once,
    however many models they are compared with.
    """

    values: Tensor
    shift: Tensor

    @classmethod
    def of(cls, units: Tensor, shift: Tensor | None = None) -> Self:
        """Takes over ``units`` [token, unit], whose values it changes unless they are of half precision, and widened.

        Batches that are to be summed share a shift; that of the first is its mean, made if none is given.
        """
        values = widened(units)
        shift = values.mean(dim=0) if shift is None else shift
        return cls(values.sub_(shift), shift)

    def __getitem__(self, columns: slice) -> ShiftedUnits:
        """Some of the units, with what is summed of them already."""
        if columns.indices(len(self.shift)) == (0, len(self.shift), 1):
            return self
        found = ShiftedUnits(self.values[:, columns], self.shift[columns])
        found.__dict__.update(
            {name: self.__dict__[name][columns] for name in ("sums", "squares") if name in self.__dict__}
        )
        return found

    @cached_property
    def sums(self) -> Tensor:
        """Over the tokens, [unit], float64."""
        return self.values.sum(dim=0).double()

    @cached_property
    def squares(self) -> Tensor:
        """Sums of squares, [unit], float64."""
        # A few units at a time: their squares stay in the cache.
        size = 64 if self.values.device.type == "cpu" else len(self.shift)
        some = self.values.split(max(1, size), dim=1)
        return torch.cat([units.square().sum(dim=0) for units in some]).double()


class CrossComoments:
    """Co-moments of the units of two models over the same tokens, about a fixed shift.

    ``update`` adds a batch, ``+`` joins two; the order and the cuts do not matter. The products are sums of centred
    values in the precision of the shifts, float32 or float64; everything else is float64.
    """

    def __init__(self, shift_x: Tensor, shift_y: Tensor) -> None:
        self._shift = (widened(shift_x), widened(shift_y))
        device = shift_x.device
        self.count = 0
        self._sums = [torch.zeros(len(s), dtype=torch.float64, device=device) for s in self._shift]
        self._squares = [torch.zeros(len(s), dtype=torch.float64, device=device) for s in self._shift]
        self._cross = self._shift[0].new_zeros(len(shift_x), len(shift_y))  # [unit of 1, unit of 2]

    @property
    def shape(self) -> tuple[int, int]:
        """How many units of the first model and of the second."""
        return len(self._shift[0]), len(self._shift[1])

    @classmethod
    def of(cls, x: ShiftedUnits, y: ShiftedUnits) -> Self:
        """The co-moments of one batch: the same tokens in two models."""
        made = cls(x.shift, y.shift)
        made.update(x, y)
        return made

    def update(self, x: ShiftedUnits, y: ShiftedUnits) -> None:
        """Add a batch about the same shifts."""
        self.count += len(x.values)
        for index, part in enumerate((x, y)):
            self._sums[index] += part.sums
            self._squares[index] += part.squares
        add_product(self._cross, x.values, y.values)

    def about(self, shift_x: Tensor, shift_y: Tensor) -> Self:
        """The same tokens, about other shifts."""
        moved = type(self)(shift_x, shift_y)
        moved.count = n = self.count
        moves = [old.double() - new.double() for old, new in zip(self._shift, moved._shift, strict=True)]
        for index, move in enumerate(moves):
            sums = self._sums[index]
            moved._sums[index] = sums + n * move
            moved._squares[index] = self._squares[index] + move * (2 * sums + n * move)
        moved._cross = _moved(self._cross, self._sums, moves, n)
        return moved

    def __add__(self, other: Self) -> Self:
        """The co-moments of both together; the shift of the result is that of the first."""
        near, joined = other.about(*self._shift), type(self)(*self._shift)
        joined.count = self.count + other.count
        joined._sums = [a + b for a, b in zip(self._sums, near._sums, strict=True)]
        joined._squares = [a + b for a, b in zip(self._squares, near._squares, strict=True)]
        joined._cross = self._cross + near._cross
        return joined

    def as_tensors(self) -> dict[str, Tensor]:
        """All it holds, by name, to be saved or sent."""
        return {
            "count": torch.tensor(self.count),
            **{
                f"{name}_{model}": values[index]
                for name, values in (("shift", self._shift), ("sums", self._sums), ("squares", self._squares))
                for index, model in enumerate("xy")
            },
            "cross": self._cross,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """What ``as_tensors`` told; takes them over."""
        made = cls(tensors["shift_x"], tensors["shift_y"])
        made.count = int(tensors["count"])
        made._sums = [tensors["sums_x"], tensors["sums_y"]]
        made._squares = [tensors["squares_x"], tensors["squares_y"]]
        made._cross = tensors["cross"]
        return made

    def covariance(self, columns: slice = slice(None), rows: slice = slice(None)) -> Tensor:
        """[unit of 1, unit of 2], for these units of the second model and of the first."""
        one, two = ((sums / self.count).to(self._cross.dtype) for sums in (self._sums[0][rows], self._sums[1][columns]))
        return torch.addr(self._cross[rows, columns], one, two, beta=1 / self.count, alpha=-1)

    def correlation(self, columns: slice = slice(None), rows: slice = slice(None)) -> Tensor:
        """Pearson's ρ, [unit of 1, unit of 2]; nan where either unit never varied: undefined, not zero."""
        found = self.covariance(columns, rows).div_(self.deviation(0)[rows, None])
        return found.div_(self.deviation(1)[columns])

    def direction_correlation(self, columns: slice, directions: Tensor, rows: slice = slice(None)) -> Tensor:
        """ρ of the first model's units with directions of one layer of the second, [unit of 1, direction].

        ``columns`` are the units of that layer; ``directions`` [direction, unit] have deviation one.
        """
        found = self.covariance(columns, rows).div_(self.deviation(0)[rows, None])
        return product(found, directions)

    def deviation(self, model: int) -> Tensor:
        """The population deviation of the units of the first (0) or second (1) model, [unit]; nan for a constant."""
        return _deviation(self._squares[model] / self.count, self._sums[model] / self.count, self._shift[model])


class LayerComoments:
    """Co-moments of the units of one layer with one another, about a fixed shift: half of a product. A sum."""

    def __init__(self, shift: Tensor) -> None:
        self._shift = widened(shift)
        self.count = 0
        self._sums = torch.zeros(len(shift), dtype=torch.float64, device=shift.device)
        self._cross = self._shift.new_zeros(len(shift), len(shift))  # the upper triangle, in tiles

    @classmethod
    def of(cls, x: ShiftedUnits) -> Self:
        """The co-moments of one batch."""
        made = cls(x.shift)
        made.update(x)
        return made

    def update(self, x: ShiftedUnits) -> None:
        """Add a batch about the same shift."""
        self.count += len(x.values)
        self._sums += x.sums
        for start in range(0, x.values.shape[1], TILE):
            rows = slice(start, start + TILE)
            add_product(self._cross[rows, start:], x.values[:, rows], x.values[:, start:])

    def about(self, shift: Tensor) -> Self:
        """The same tokens, about another shift."""
        moved = type(self)(shift)
        moved.count = self.count
        move = self._shift.double() - moved._shift.double()
        moved._sums = self._sums + self.count * move
        moved._cross = _moved(self._cross, [self._sums] * 2, [move] * 2, self.count)
        return moved

    def __add__(self, other: Self) -> Self:
        """The co-moments of both together; the shift of the result is that of the first."""
        near, joined = other.about(self._shift), type(self)(self._shift)
        joined.count = self.count + other.count
        joined._sums = self._sums + near._sums
        joined._cross = self._cross + near._cross
        return joined

    def as_tensors(self) -> dict[str, Tensor]:
        """All it holds, by name, to be saved or sent."""
        return {"count": torch.tensor(self.count), "shift": self._shift, "sums": self._sums, "cross": self._cross}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """What ``as_tensors`` told; takes them over."""
        made = cls(tensors["shift"])
        made.count, made._sums, made._cross = int(tensors["count"]), tensors["sums"], tensors["cross"]
        return made

    def covariance(self) -> Tensor:
        """[unit, unit]."""
        mean = (self._sums / self.count).to(self._cross.dtype)
        upper = self._cross.triu() / self.count
        return upper + upper.triu(1).T - torch.outer(mean, mean)

    def deviation(self) -> Tensor:
        """The population deviation of the units, [unit]; nan for a constant."""
        return _deviation(self._cross.diagonal().double() / self.count, self._sums / self.count, self._shift)

    def deviation_along(self, directions: Tensor) -> Tensor:
        """The deviation along each of ``directions`` [direction, unit], [direction]; nan where nothing varied."""
        variance = (product(directions, self.covariance()) * directions).sum(dim=1)  # it is symmetric
        return torch.where(variance > 0, variance, torch.nan).sqrt()


def _moved(cross: Tensor, sums: Sequence[Tensor], moves: Sequence[Tensor], count: int) -> Tensor:
    """Sums of products [unit, unit] about other shifts, nearer by ``moves``; what is added is summed in float64."""
    # Σ (x + d)(y + e) = Σ xy + d Σ y + (Σ x + n d) e, a few rows at a time: in float64 they are twice as large.
    (d, e), (x, y) = moves, sums
    found = torch.empty_like(cross)
    for rows in torch.arange(len(cross), device=cross.device).split(TILE):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        found[part] = torch.outer(d[part], y) + torch.outer(x[part] + count * d[part], e) + cross[part]
    return found


def inverse_deviation(deviation: Tensor) -> Tensor:
    """One over each deviation; 0 where there is none."""
    return torch.where(deviation > 0, 1 / deviation, 0.0)


def _deviation(square: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
    """From the mean square and the mean about a shift: what rounding leaves of a constant is no deviation."""
    variance = square - mean**2
    least = 1e-12 * (square + shift.double() ** 2)
    return torch.where(variance > least, variance, torch.nan).sqrt().to(shift.dtype)


@dataclass(frozen=True, eq=False)
class BestMatches:
    """For every unit of the first model: the best unit of the second, [unit], and ρ with it.

    ``sign`` is −1 where the best match is an opposite, which only counts if signs are arbitrary. A unit that
    never varied has ρ and sign nan and partner −1.
    """

    partner: Tensor
    correlation: Tensor
    sign: Tensor


class BestMatchSearch:
    """The best match so far of every unit of the first model, looked for block by block.

    ``absolute`` takes the strongest of either sign. What is found first stays where another is as good.
    """

    def __init__(self, units: int, *, absolute: bool = False) -> None:
        self._units = units
        self._absolute = absolute
        self._found: tuple[Tensor, Tensor, Tensor] | None = None

    def update(self, block: Tensor, offset: int, rows: slice = slice(None)) -> None:
        """At correlations [unit of ``rows``, unit of the second model from ``offset`` on]."""
        scores = block.abs() if self._absolute else block
        value, partner = scores.max(dim=1)
        if value.isnan().any():  # one nan makes its row nan; to look first would cost as much again
            value, partner = scores.nan_to_num(nan=-torch.inf).max(dim=1)
        opposite = block.gather(1, partner[:, None])[:, 0] < 0 if self._absolute else torch.zeros_like(value).bool()
        if self._found is None:
            nothing = value.new_full((self._units,), -torch.inf)
            self._found = nothing, partner.new_full((self._units,), -1), torch.ones_like(nothing)
        new = value, partner + offset, torch.where(opposite, -1.0, 1.0).to(value.dtype)
        better = value > self._found[0][rows]
        for old, of_block in zip(self._found, new, strict=True):
            old[rows] = torch.where(better, of_block, old[rows])

    def best(self) -> BestMatches:
        """What was found. Raises ValueError if nothing was looked at."""
        if self._found is None:
            raise ValueError("best_matches needs a block of correlations; there was none")
        value, partner, sign = self._found
        none = value == -torch.inf
        nan = torch.nan
        return BestMatches(torch.where(none, -1, partner), torch.where(none, nan, value), torch.where(none, nan, sign))


def best_matches(blocks: Iterable[Tensor], *, absolute: bool = False) -> BestMatches:
    """The best match of every row over the columns of all blocks; ``absolute``: the strongest of either sign.

    Blocks may be made one at a time, such as the layers of a model. Raises ValueError if there are none.
    """
    offset, search = 0, BestMatchSearch(0, absolute=absolute)
    for block in blocks:
        if not offset:
            search = BestMatchSearch(len(block), absolute=absolute)
        search.update(block, offset)
        offset += block.shape[1]
    return search.best()


@dataclass(frozen=True, eq=False)
class CentredUnits:
    """The units of one model in one batch, about their mean. ``mean`` and ``squares`` are [unit], float64.

    ``values`` [unit, token], float32 or float64, lies unit by unit, so that chosen units are read in one go.
    """

    mean: Tensor
    squares: Tensor
    values: Tensor

    @classmethod
    def of(cls, units: Tensor) -> Self:
        """From ``units`` [token, unit]."""
        wide = torch.float64 if units.dtype == torch.float64 else torch.float32
        values = units.T.to(wide, copy=True, memory_format=torch.contiguous_format)
        mean = values.mean(dim=1, keepdim=True)
        values -= mean
        rest = values.mean(dim=1, keepdim=True)  # what the rounded mean missed
        values -= rest
        return cls((mean.double() + rest.double())[:, 0], _dots(values, values), values)

    def rotated(self, rotations: Sequence[Tensor], scale: Tensor, layers: Sequence[slice]) -> CentredUnits:
        """The units of ``layers``, times ``scale`` [unit], each in a basis of its own, [direction, unit]."""
        values, mean = torch.empty_like(self.values), torch.empty_like(self.mean)
        for rotation, layer in zip(rotations, layers, strict=True):
            scaled = rotation * scale[layer]
            values[layer] = product(scaled, self.values[layer].T)
            mean[layer] = scaled.double() @ self.mean[layer]
        return CentredUnits(mean, _dots(values, values), values)


def _dots(x: Tensor, y: Tensor, index: Tensor | None = None) -> Tensor:
    """Sums of products of every unit of ``x`` with that of ``y`` in its place, or at ``index``, [unit], float64."""
    # A few units at a time: what is made of them stays in the cache.
    size = 256 if x.device.type == "cpu" else max(1, len(x))
    found = [
        (a * (y[start : start + size] if index is None else y[index[start : start + size]])).sum(dim=1)
        for start, a in zip(range(0, len(x), size), x.split(size), strict=True)
    ]
    return torch.cat(found).double()


@dataclass(frozen=True, eq=False)
class PairComoments:
    """Correlation of chosen pairs of units, gathered without products: one number per pair.

    A sum: ``+`` joins two. ``mean_x`` and ``xx`` are [pair]; the others are [pair], or [comparison, pair] where
    several pairs share their first unit. Sums are centred: inside a batch in its precision, float64 over batches.
    """

    count: float
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: CentredUnits, *comparisons: tuple[CentredUnits, Tensor]) -> Self:
        """The sums of one batch: every unit of ``x`` with a unit, given by index, of each other."""
        return cls.among(x, comparisons)

    @classmethod
    def among(cls, x: CentredUnits, comparisons: Iterable[tuple[CentredUnits, Tensor]]) -> Self:
        """The same; what is compared with may be made one after the other."""
        found = [(y.mean[index], y.squares[index], _dots(x.values, y.values, index)) for y, index in comparisons]
        mean_y, yy, xy = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return cls(float(x.values.shape[1]), x.mean, mean_y, x.squares, yy, xy)

    def __add__(self, other: Self) -> Self:
        """The sums of both batches together (Chan, Golub and LeVeque 1983)."""
        n = self.count + other.count
        weight = self.count * other.count / n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        return type(self)(
            n,
            self.mean_x + dx * other.count / n,
            self.mean_y + dy * other.count / n,
            self.xx + other.xx + dx**2 * weight,
            self.yy + other.yy + dy**2 * weight,
            self.xy + other.xy + dx * dy * weight,
        )

    @property
    def correlation(self) -> Tensor:
        """Pearson's ρ of every pair, [pair], float64; nan where either side never varied."""
        scale = (self.xx * self.yy).sqrt()
        varied = (self.xx > 1e-12 * self.count * self.mean_x**2) & (self.yy > 1e-12 * self.count * self.mean_y**2)
        return torch.where(varied & (scale > 0), self.xy / scale, torch.nan)
