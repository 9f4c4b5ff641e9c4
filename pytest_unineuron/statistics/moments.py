"""Mean, variance, skew and kurtosis of every unit in one pass, mergeable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


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
        del tokens, labels
        n = float(values.shape[0])
        if not n:
            nothing = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
            return cls(nothing, nothing, nothing, nothing, nothing)
        wide = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        shift = wide.mean(dim=0)  # [unit], rounded: what it misses is put right below
        y = wide - shift
        y2 = y * y
        powers = [y.sum(dim=0), y2.sum(dim=0), y.mul_(y2).sum(dim=0), y2.mul_(y2).sum(dim=0)]
        s1, s2, s3, s4 = (p.double() / n for p in powers)  # each [unit]
        d = s1  # the true mean lies this far from the shift
        m2 = s2 - d**2
        m3 = s3 - 3 * d * s2 + 2 * d**3
        m4 = s4 - 4 * d * s3 + 6 * d**2 * s2 - 3 * d**4
        count = torch.full((), n, dtype=torch.float64, device=values.device)
        return cls(count, shift.double() + d, n * m2, n * m3, n * m4)

    def __add__(self, other: Self) -> Self:
        """The moments of both batches together."""
        na, nb = self.count, other.count
        n = (na + nb).clamp_min(1)  # an expert may have seen no token in either
        delta = other.mean - self.mean
        mean = self.mean + delta * nb / n
        m2 = self.m2 + other.m2 + delta**2 * na * nb / n
        m3 = (
            self.m3 + other.m3 + delta**3 * na * nb * (na - nb) / n**2
            + 3 * delta * (na * other.m2 - nb * self.m2) / n
        )  # fmt: skip
        m4 = (
            self.m4 + other.m4 + delta**4 * na * nb * (na**2 - na * nb + nb**2) / n**3
            + 6 * delta**2 * (na**2 * other.m2 + nb**2 * self.m2) / n**2
            + 4 * delta * (na * other.m3 - nb * self.m3) / n
        )  # fmt: skip
        return type(self)(na + nb, mean, m2, m3, m4)

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
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
            single = [single[i] + single[i + 1] if i + 1 < len(single) else single[i]
                      for i in range(0, len(single), 2)]  # fmt: skip
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
