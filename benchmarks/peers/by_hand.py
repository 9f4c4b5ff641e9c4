"""The statistics that a careful user computes from a library's activations, the same code for every library.

Values are shifted by the mean of the first batch, and their powers summed in float32 within a batch and in float64
over batches: of the methods that are exact enough, the cheapest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

N_CORRELATED = 64
"""Neurons of each model whose correlations are verified."""


class LayerSums:
    """Moments, density and the largest values of the neurons of one layer at one site."""

    def __init__(self, *, density: bool = False, n_largest: int = 0) -> None:
        self._density, self._n_largest = density, n_largest
        self.count = 0

    def update(self, values: Tensor) -> None:
        """Add a batch, [..., unit]."""
        values = values.reshape(-1, values.shape[-1])
        if not self.count:
            self.shift = values.mean(dim=0)
            self.powers = torch.zeros(4, values.shape[1], dtype=torch.float64)
            self.active = torch.zeros(values.shape[1], dtype=torch.int64)
            self.largest = torch.empty(0, values.shape[1])
            self.tokens = torch.empty(0, values.shape[1], dtype=torch.int64)
        y = values - self.shift
        y2 = y * y
        self.powers += torch.stack([y.sum(0), y2.sum(0), (y2 * y).sum(0), (y2 * y2).sum(0)])
        if self._density:
            self.active += (values > 0).sum(0)
        if self._n_largest:
            largest, tokens = values.topk(self._n_largest, dim=0)
            self.largest, rows = torch.cat([self.largest, largest]).topk(self._n_largest, dim=0)
            self.tokens = torch.cat([self.tokens, tokens + self.count]).gather(0, rows)
        self.count += len(values)

    @property
    def numbers(self) -> list[float]:
        """Means of the statistics over the neurons."""
        s1, s2, s3, s4 = self.powers / self.count
        variance = s2 - s1**2
        fourth = s4 - 4 * s1 * s3 + 6 * s1**2 * s2 - 3 * s1**4
        means = [(self.shift + s1).square().mean(), variance.mean(), (fourth / variance**2).mean()]
        means += [self.active.double().mean() / self.count] * self._density
        means += [self.largest.double().mean()] if self._n_largest else []
        return [float(mean) for mean in means]


class ModelSums:
    """The sums of all layers: density before the activation function, the largest values after it, moments at both."""

    def __init__(self, layers: int, n_largest: int) -> None:
        self.pre = [LayerSums(density=True) for _ in range(layers)]
        self.post = [LayerSums(n_largest=n_largest) for _ in range(layers)]

    def numbers(self) -> list[float]:
        """Means of the statistics over the neurons of each layer."""
        return [number for layer in (*self.pre, *self.post) for number in layer.numbers]


class ProductSums:
    """Sums of the neurons of two models and of their products, from which correlations follow.

    With ``bases``, a rotation of each layer of the second model, also the sums of products with rotated neurons.
    """

    def __init__(self, bases: Sequence[Tensor] = ()) -> None:
        self._bases = bases
        self.count = 0

    def update(self, one: Sequence[Tensor], two: Sequence[Tensor]) -> None:
        """Add a batch: the neurons of all layers of both models, [..., unit]."""
        x, y = _concat_layers(one), _concat_layers(two)
        if not self.count:
            self.shifts = x.mean(dim=0), y.mean(dim=0)
            self.x, self.y = (torch.zeros(2, z.shape[1], dtype=torch.float64) for z in (x, y))
            self.cross = torch.zeros(x.shape[1], y.shape[1])
            self.rotated = torch.zeros_like(self.cross) if self._bases else None
            self.z = torch.zeros_like(self.y)
        x -= self.shifts[0]
        y -= self.shifts[1]
        self.count += len(x)
        self.x += _power_sums(x)
        self.y += _power_sums(y)
        self.cross.addmm_(x.T, y)
        if self.rotated is not None:
            parts = y.split([len(basis) for basis in self._bases], dim=1)
            z = torch.cat([part @ basis.T for part, basis in zip(parts, self._bases, strict=True)], dim=1)
            self.z += _power_sums(z)
            self.rotated.addmm_(x.T, z)

    def numbers(self) -> list[float]:
        """The mean square and the maximum of the correlations of the first neurons."""
        (a, aa), (b, bb) = (sums[:, :N_CORRELATED] / self.count for sums in (self.x, self.y))
        covariance = self.cross[:N_CORRELATED, :N_CORRELATED].double() / self.count - torch.outer(a, b)
        rho = covariance / torch.outer((aa - a**2).sqrt(), (bb - b**2).sqrt())
        return [float(rho.square().mean()), float(rho.max())]


def random_bases(layers: int, units: int) -> list[Tensor]:
    """A random orthonormal basis per layer, [direction, unit]."""
    generator = torch.Generator().manual_seed(0)
    return [torch.linalg.qr(torch.randn(units, units, generator=generator))[0] for _ in range(layers)]


def correlate(
    batches: Iterable[Tensor], neurons: Sequence[Callable[[Tensor], list[Tensor]]], bases: Sequence[Tensor] = ()
) -> Callable[[], list[float]]:
    """Correlate the neurons of two models; each of ``neurons`` returns those of all layers on a batch, [..., unit]."""
    sums = ProductSums(bases)
    for batch in batches:
        sums.update(*(of_model(batch) for of_model in neurons))
    return sums.numbers


def _concat_layers(layers: Sequence[Tensor]) -> Tensor:
    """The neurons of all layers, [token, unit]."""
    return torch.cat([layer.reshape(-1, layer.shape[-1]) for layer in layers], dim=1)


def _power_sums(x: Tensor) -> Tensor:
    """Sums of values and of their squares over the tokens, [2, unit]."""
    return torch.stack([x.sum(0), x.square().sum(0)])
