"""Random bases, and the kurtosis of columns in a given basis and in random ones."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.statistics.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor


CACHED_BYTES = 2**29
"""Bytes of rotations that are cached: those of all layers of a small model, which reads several texts."""
_rotations: OrderedDict[tuple[int, int], Tensor] = OrderedDict()


def haar_rotation(size: int, seed: int) -> Tensor:
    """Return a uniformly distributed (Haar) orthogonal matrix, [size, size] float32.

    It is Q of the QR decomposition of a Normal matrix, with the signs for which the diagonal of R is positive (Mezzadri
    2007). The last ones are cached, since drawing one takes longer than using it.
    """
    key = (size, seed)
    if key not in _rotations:
        _rotations[key] = _draw_rotation(size, seed)
    _rotations.move_to_end(key)
    while len(_rotations) > 1 and sum(rotation.nbytes for rotation in _rotations.values()) > CACHED_BYTES:
        _rotations.popitem(last=False)
    return _rotations[key]


def _draw_rotation(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    rotation: Tensor = (q * r.diagonal().sign()).float()
    return rotation


def column_kurtosis(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Pearson kurtosis of every column of ``matrix`` [row, column] over its rows, [column]."""
    values = torch.from_numpy(np.ascontiguousarray(matrix))
    ignored = torch.empty(0)
    return np.asarray(Moments.of(values, ignored, ignored).kurtosis.numpy())


def kurtosis_deviation(matrix: NDArray[np.float64]) -> float:
    """Return how much the columns of ``matrix`` [row, column] differ in the weight of their tails.

    It is the standard deviation over columns of the logarithm of their kurtosis; a constant column is left out.
    """
    return float(np.nanstd(np.log(column_kurtosis(matrix))))


def some_rows(matrix: NDArray[np.float64], most: int, seed: int = 0) -> NDArray[np.float64]:
    """Return at most so many rows of ``matrix`` [row, column], drawn without replacement, in their order."""
    if len(matrix) <= most:
        return matrix
    return matrix[np.sort(np.random.default_rng(seed).choice(len(matrix), most, replace=False))]


def rotations(matrix: NDArray[np.float64], draws: int, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield ``matrix`` [row, column] in random bases of its columns' space.

    If the given basis is not special, the matrix itself is one more such draw (Elhage et al. 2023).
    """
    for draw in range(draws):
        yield matrix @ haar_rotation(matrix.shape[1], seed + draw).numpy()


def exchanges(matrix: NDArray[np.float64], draws: int, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield ``matrix`` [row, column], its columns standardised, with the entries of each row in random places.

    If no column is special, the standardised matrix is one more such draw, however heavy the tails of its entries are.
    Columns are standardised by their quartiles: heavy tails would shrink the rest of a column that has some.
    """
    random = np.random.default_rng(seed)
    low, middle, high = np.quantile(matrix, (0.25, 0.5, 0.75), axis=0)
    standardised = (matrix - middle) / np.where(high > low, high - low, 1.0)
    for _ in range(draws):
        yield random.permuted(standardised, axis=1)
