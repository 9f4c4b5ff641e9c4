"""N5: the units of every layer in a random basis, in which no direction is special."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.statistics import RESIDUAL
from pytest_unineuron.statistics.basis import haar_rotation
from pytest_unineuron.statistics.gemm import product

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.moments import Moments


class Rotation:
    """Rotates the standardised units of every layer, each layer by a rotation of its own.

    ``moments``, by site, are those of the same model on the same text. Units are standardised with them, since a few
    units of large variance would otherwise dominate every rotated one. ``sizes``, by site, are the numbers of units of
    the layers.
    """

    def __init__(self, moments: dict[str, Moments], sizes: dict[str, list[int]], seed: int) -> None:
        self._seed = seed
        self._mean: dict[str, tuple[Tensor, ...]] = {}
        self._scale: dict[str, tuple[Tensor, ...]] = {}
        self._rotations: dict[tuple[bool, int, int], Tensor] = {}
        for site, of_site in moments.items():
            deviation = of_site.variance.clamp_min(0).sqrt()
            scale = torch.where(deviation > 0, 1 / deviation, 0.0)
            self._mean[site] = of_site.mean.float().split(sizes[site])
            self._scale[site] = scale.float().split(sizes[site])

    def __call__(self, site: str, layer: int, units: Tensor) -> Tensor:
        """Return the rotated units of one layer at one site, [token, unit], float32 unless they are float64."""
        units = units if units.dtype == torch.float64 else units.float()
        mean, scale = (of[site][layer].to(units) for of in (self._mean, self._scale))
        return product((units - mean) * scale, self._rotation(site, layer, units).to(units.dtype))

    def _rotation(self, site: str, layer: int, units: Tensor) -> Tensor:
        """The rotation of a layer, [unit, unit]: the same at its sites, others for the stream and for other sizes."""
        key = (site == RESIDUAL, layer, units.shape[1])
        if key not in self._rotations:
            seed = (self._seed * 1009 + layer) * 2 + key[0]
            self._rotations[key] = haar_rotation(units.shape[1], seed).to(units.device)
        return self._rotations[key]
