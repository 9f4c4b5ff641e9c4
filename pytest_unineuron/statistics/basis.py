"""Random bases, and the kurtosis of columns in a given basis and in random ones."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.statistics.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@lru_cache(maxsize=16)
def haar_rotation(size: int, seed: int) -> Tensor:
    """Return a uniformly distributed (Haar) orthogonal matrix, [size, size] float32.

    It is Q of the QR decomposition of a Normal matrix, with the signs for which the diagonal of R is positive (Mezzadri
    2007). The last few are cached, since drawing one takes longer than using it.
    """
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    rotation: Tensor = (q * r.diagonal().sign()).float()
    return rotation


def column_kurtosis(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Pearson kurtosis of every column of ``matrix`` [row, column] over its rows, [column]."""
    values = torch.from_numpy(np.ascontiguousarray(matrix))
    ignored = torch.empty(0)
    return np.asarray(Moments.of(values, ignored, ignored).kurtosis.numpy())


def rotated_kurtosis(matrix: NDArray[np.float64], *, draws: int, seed: int = 0) -> NDArray[np.float64]:
    """Return the mean column kurtosis of ``matrix`` [row, column] in random bases of its columns' space, [draw].

    If the given basis is not special, the mean kurtosis of ``matrix`` itself is one more such draw.
    """
    # Not haar_rotation: another generator, in float64. With the same draws the results of trials would change.
    random = np.random.default_rng(seed)
    size = matrix.shape[1]
    means = []
    for _ in range(draws):
        q, r = np.linalg.qr(random.standard_normal((size, size)))
        means.append(float(np.nanmean(column_kurtosis(matrix @ (q * np.sign(np.diag(r)))))))
    return np.array(means)
