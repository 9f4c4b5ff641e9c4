"""Is a basis special? What its directions show, against the same space in random bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.statistics.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray


def column_kurtosis(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson kurtosis of every column of [row, column], over its rows."""
    values = torch.from_numpy(np.ascontiguousarray(matrix))
    ignored = torch.empty(0)
    return np.asarray(Moments.of(values, ignored, ignored).kurtosis.numpy())


def rotated_kurtosis(matrix: NDArray[np.float64], *, draws: int, seed: int = 0) -> NDArray[np.float64]:
    """Mean column kurtosis of ``matrix`` in ``draws`` random bases of its columns' space, [draw].

    The rotations are Haar, seeded. If the given basis is not special, its own mean is one more such draw.
    """
    random = np.random.default_rng(seed)
    size = matrix.shape[1]
    means = []
    for _ in range(draws):
        q, r = np.linalg.qr(random.standard_normal((size, size)))
        means.append(float(np.nanmean(column_kurtosis(matrix @ (q * np.sign(np.diag(r)))))))
    return np.array(means)
