"""N5: the same computation in another basis. If the neurons are special, the rotated units are not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.statistics import RESIDUAL
from pytest_unineuron.statistics.gemm import product

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.moments import Moments


@lru_cache(maxsize=16)
def haar_rotation(size: int, seed: int) -> Tensor:
    """A rotation drawn uniformly (Haar), [size, size] float32: QR of a Normal matrix with its signs put right.

    The last few are kept: to draw one takes longer than to use it.
    """
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    rotation: Tensor = (q * r.diagonal().sign()).float()
    return rotation


class Rotation:
    """Rotates the standardised units of every layer, each by its own rotation.

    Standardised with ``moments``, by site, of the same model over the same text: unstandardised, a few units
    of large variance would rule every rotated one. ``sizes`` gives the units of each layer, by site.
    """

    def __init__(self, moments: dict[str, Moments], sizes: dict[str, list[int]], seed: int) -> None:
        self._seed = seed
        self._mean: dict[str, tuple[Tensor, ...]] = {}
        self._scale: dict[str, tuple[Tensor, ...]] = {}
        self._rotations: dict[tuple[bool, int], Tensor] = {}
        for site, of_site in moments.items():
            deviation = of_site.variance.clamp_min(0).sqrt()
            scale = torch.where(deviation > 0, 1 / deviation, 0.0)
            self._mean[site] = of_site.mean.float().split(sizes[site])
            self._scale[site] = scale.float().split(sizes[site])

    def __call__(self, site: str, layer: int, units: Tensor) -> Tensor:
        """The rotated units of one layer at one site, [token, unit], float32 unless they are float64."""
        units = units if units.dtype == torch.float64 else units.float()
        mean, scale = (of[site][layer].to(units) for of in (self._mean, self._scale))
        return product((units - mean) * scale, self._rotation(site, layer, units).to(units.dtype))

    def _rotation(self, site: str, layer: int, units: Tensor) -> Tensor:
        key = (site == RESIDUAL, layer)
        if key not in self._rotations:
            seed = (self._seed * 1009 + layer) * 2 + key[0]
            self._rotations[key] = haar_rotation(units.shape[1], seed).to(units.device)
        return self._rotations[key]
