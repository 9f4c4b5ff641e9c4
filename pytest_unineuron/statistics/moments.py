"""Mean, variance, skew and kurtosis of every unit in one pass, mergeable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch

from pytest_unineuron.statistics.layer_batch import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch

M = TypeVar("M", bound="Moments")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean, variance, skew and (Pearson) kurtosis of every unit, gathered in one pass.

    ``of`` takes [token, unit] in any float type; sums are float64 and centred; every result is [unit].
    A Normal scores skew 0 and kurtosis 3. A unit that never varied has ``nan`` skew and kurtosis: undefined,
    and said so. Merging follows Chan, Golub and LeVeque (1983), and Pébay (2008) for the third and fourth
    moment.

    >>> Moments.of(torch.tensor([[0.0], [0.0], [3.0]]), torch.arange(3), torch.arange(3)).variance.item()
    2.0
    """

    count: Tensor
    mean: Tensor
    m2: Tensor
    m3: Tensor
    m4: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The moments of one batch [token, unit]; which tokens they are does not matter."""
        return gathered(cls.accumulator(values.shape[1], values.device), values, tokens, labels)

    @classmethod
    def accumulator(cls, units: int, device: Any) -> MomentsAccumulator[Self]:
        """The moments of nothing yet."""
        return MomentsAccumulator(cls, units, device)

    def __add__(self, other: Self) -> Self:
        """The moments of both batches together."""
        na, nb = self.count, other.count
        n = (na + nb).clamp_min(1)  # an expert may have seen no token in either
        delta = other.mean - self.mean
        mean = self.mean + delta * nb / n
        m2 = self.m2 + other.m2 + delta**2 * na * nb / n
        m3 = self.m3 + other.m3 + delta**3 * na * nb * (na - nb) / n**2 + 3 * delta * (na * other.m2 - nb * self.m2) / n
        m4 = (
            self.m4
            + other.m4
            + delta**4 * na * nb * (na**2 - na * nb + nb**2) / n**3
            + 6 * delta**2 * (na**2 * other.m2 + nb**2 * self.m2) / n**2
            + 4 * delta * (na * other.m3 - nb * self.m3) / n
        )
        return type(self)(na + nb, mean, m2, m3, m4)

    @classmethod
    def concat_units(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; ``count`` is [unit]."""
        counts = torch.cat([part.count.expand(len(part.mean)) for part in parts])
        fields = ([getattr(part, name) for part in parts] for name in ("mean", "m2", "m3", "m4"))
        return cls(counts, *(torch.cat(field) for field in fields))

    def flattened(self) -> Self:
        """All units pooled into one, [1]: a mixture, as the notebook's flattened arrays were."""
        count = self.count.expand(len(self.mean))
        single = [
            type(self)(*(field[i : i + 1] for field in (count, self.mean, self.m2, self.m3, self.m4)))
            for i in range(len(self.mean))
        ]
        while len(single) > 1:  # pairwise, so that equal counts meet
            single = [single[i] + single[i + 1] if i + 1 < len(single) else single[i] for i in range(0, len(single), 2)]
        return single[0]

    @property
    def variance(self) -> Tensor:
        """Population variance, [unit]."""
        return self.m2 / self.count

    @property
    def _varied(self) -> Tensor:
        # Below this the sum of squares is the rounding of a constant, not a spread.
        return self.m2 > self.count * (1e-7 * self.mean.abs().clamp_min(1e-30)) ** 2

    @property
    def skew(self) -> Tensor:
        """Third standardised moment, [unit]; nan for a constant unit."""
        value = (self.m3 / self.count) / self.variance**1.5
        return torch.where(self._varied, value, torch.nan)

    @property
    def kurtosis(self) -> Tensor:
        """Fourth standardised moment (Pearson: a Normal has 3), [unit]; nan for a constant unit."""
        value = (self.m4 / self.count) / self.variance**2
        return torch.where(self._varied, value, torch.nan)


class MomentsAccumulator(Generic[M]):
    """Sums of the first four powers of what is left of a value after a shift, float64 [power, unit].

    The shift is the mean of the first tile, so that hardly anything cancels later. The powers, and their sums over
    one tile, are in float32 (float64 of float64 values): the variance is off by about 1e-8 · (1 + d²) of itself for a
    true mean d standard deviations from the shift, which is less than one unless the text changes its nature, and
    skew and kurtosis by ten times that. Values in bfloat16 or float16 are widened first, so that what is lost there
    was lost by the model: 2⁻⁹ or 2⁻¹² of each value, which for a unit whose mean is m standard deviations adds about
    (m · 2⁻⁹)² / 3 to the variance.
    """

    def __init__(self, kind: type[M], units: int, device: Any) -> None:
        self._kind = kind
        self._count = 0
        self._shift: Tensor | None = None
        self._sums = torch.zeros(4, units, dtype=torch.float64, device=device)

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """The sums of a tile are added to those of the others."""
        if self._shift is None:
            self._shift = (tile if tile.dtype == torch.float64 else tile.float()).mean(dim=0)
        wide = self._shift.dtype  # half precision is widened here
        y = torch.sub(tile, self._shift, out=scratch.like(tile, "y", wide))
        y2 = torch.mul(y, y, out=scratch.like(tile, "y2", wide))
        self._sums += torch.stack([y.sum(dim=0), y2.sum(dim=0), y.mul_(y2).sum(dim=0), y2.mul_(y2).sum(dim=0)])
        self._count += len(tile)

    def finish_batch(self, rows: LayerBatch) -> None:
        """Which tokens they were does not matter."""

    def result(self) -> M:
        """The moments about the mean."""
        n = torch.full((), self._count, dtype=torch.float64, device=self._sums.device)
        if self._shift is None:
            nothing = torch.zeros_like(self._sums[0])
            return self._kind(n, nothing, nothing, nothing, nothing)
        d, s2, s3, s4 = self._sums / n  # d: the true mean lies this far from the shift
        m2 = (s2 - d**2).clamp_min(0)
        m3 = s3 - 3 * d * s2 + 2 * d**3
        m4 = (s4 - 4 * d * s3 + 6 * d**2 * s2 - 3 * d**4).clamp_min(0)
        return self._kind(n, self._shift.double() + d, n * m2, n * m3, n * m4)
