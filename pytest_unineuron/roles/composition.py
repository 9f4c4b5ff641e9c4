"""Vocabulary composition: what the logits of all tokens get from each neuron, as moments of cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.weights.weight_view import centred
from pytest_unineuron.statistics.accumulator import accumulate
from pytest_unineuron.statistics.gemm import product
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.moments import Moments
from pytest_unineuron.statistics.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView

BLOCK_SIZE = 2**21
"""Cosines in memory at a time: eight megabytes in float32."""
RANDOM_DIRECTIONS = 2**14
"""Enough to see a share of 0.02 % of neurons beyond that of directions, the smallest that a trial claims."""
ROUNDING = 1e-6
"""Cosines of two float32 vectors that deviate by less than this from their mean differ by rounding alone."""


def composition(view: WeightView) -> Moments:
    """Return the moments of every neuron's cosines, over the tokens of the vocabulary, one value per neuron.

    A cosine is that of ŵ_out with a column of Ŵ_U, with norms folded (Gurnee et al. 2024, section 5.1). Moments are
    undefined, nan, for a neuron that writes elsewhere. Raises NotApplicable for a model without an unembedding behind
    its last norm, and where a norm cannot be folded.
    """
    unembedding = view.unembedding
    return Moments.concat_units(
        [
            _unknown(layer.width, unembedding.device) if write is None else cosine_moments(write, unembedding)
            for layer, write in zip(view.anatomy.layout.per_token.layers, view.stream_writes, strict=True)
        ]
    ).cpu()


def cosine_moments(write: Tensor, unembedding: Tensor) -> Moments:
    """Return the moments over tokens of the cosines of ``write`` [neuron, width] and ``unembedding`` [token, width].

    The vocabulary is read in blocks, so that never more than ``BLOCK_SIZE`` cosines are in memory. A vector of zeros
    has cosines 0. Skew and kurtosis are nan for a neuron whose cosines differ by rounding alone.
    """
    write = unit_rows(write.to(unembedding))
    accumulator = Moments.accumulator(len(write), write.device)
    scratch, rows = Scratch(), max(8, BLOCK_SIZE // max(1, len(write)))
    for block in unembedding.split(rows):
        cosines = product(unit_rows(block), write)  # [token, neuron]
        accumulate(LayerBatch(cosines, torch.arange(len(block)), None), [accumulator], scratch)
    found: Moments = accumulator.result()
    constant = found.variance <= ROUNDING**2
    return Moments(found.count, found.mean, *(m.masked_fill(constant, 0.0) for m in (found.m2, found.m3, found.m4)))


def random_composition(view: WeightView) -> Moments:
    """Return the moments of ``composition`` for random directions of the stream, one value per direction."""
    width = view.unembedding.shape[1]
    random = torch.randn(RANDOM_DIRECTIONS, width, generator=torch.Generator().manual_seed(3)).to(view.unembedding)
    if view.final_norm_centres:
        random = centred(random)
    return cosine_moments(random, view.unembedding)


def random_kurtosis(view: WeightView) -> Tensor:
    """Return the kurtosis over the vocabulary of random directions of the stream, [direction] in ascending order."""
    return random_composition(view).kurtosis.sort().values


def ranks(values: Tensor, null: Tensor) -> Tensor:
    """Return the share of ``null`` [direction], in ascending order, that is below each of ``values``; nan for nan."""
    found = torch.searchsorted(null, values.contiguous()).double() / len(null)
    return torch.where(values.isnan(), torch.nan, found)


def by_neuron(view: WeightView, of_layer: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``of_layer`` of the write vectors [unit, width] of every layer, [neuron].

    It is nan for a neuron that writes to another stream than the one that the last norm reads. Raises NotApplicable
    where a norm cannot be folded.
    """
    layers = view.anatomy.layout.per_token.layers
    found = [
        torch.full((layer.width,), torch.nan, dtype=torch.float64) if write is None else of_layer(write).double().cpu()
        for layer, write in zip(layers, view.stream_writes, strict=True)
    ]
    return torch.cat(found)


def unit_rows(matrix: Tensor) -> Tensor:
    """Return every row [row, width] at length 1; a row of zeros stays. Squares of float32 values may not be float32."""
    length = torch.linalg.vector_norm(matrix, dim=1, keepdim=True, dtype=torch.float64)
    return matrix / torch.where(length > 0, length, 1.0).to(matrix.dtype)


def _unknown(units: int, device: torch.device) -> Moments:
    nan = torch.full((units,), torch.nan, dtype=torch.float64, device=device)
    return Moments(nan, nan, nan, nan, nan)


@dataclass(frozen=True, eq=False)
class Composition:
    """The vocabulary composition of every neuron, as trials read it. Arrays are [neuron] over all layers in order.

    ``width`` is that of the residual stream. ``skew`` of a gated neuron has an arbitrary sign: its up projection and
    ``w_out`` can both be reversed.
    """

    width: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    skew: NDArray[np.float64]
    kurtosis: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments, width: int) -> Composition:
        """Return the arrays of some moments [neuron]."""
        names = ("mean", "variance", "skew", "kurtosis")
        return cls(width, *(getattr(moments, name).double().cpu().numpy() for name in names))

    @property
    def logit_neurons(self) -> NDArray[np.bool_]:
        """Which neurons raise or lower a few tokens: kurtosis above 10 (Gurnee et al. 2024, section 5.1)."""
        return self.kurtosis > LOGIT_KURTOSIS

    def prediction(self, sign: NDArray[np.float64] | float = 1.0) -> NDArray[np.bool_]:
        """Which of them raise these tokens: positive skew. ``sign`` [neuron] is that of a gated neuron's activation."""
        return self.logit_neurons & (sign * self.skew > 0)

    def suppression(self, sign: NDArray[np.float64] | float = 1.0) -> NDArray[np.bool_]:
        """Which of them lower these tokens: negative skew. ``sign`` is as for ``prediction``."""
        return self.logit_neurons & (sign * self.skew < 0)

    @property
    def partition(self) -> NDArray[np.bool_]:
        """Which neurons raise one part of the vocabulary and lower another: a large variance."""
        return self.variance * self.width > PARTITION_VARIANCE


LOGIT_KURTOSIS = 10.0
"""The kurtosis above which the paper calls a neuron one of prediction or suppression; a Normal has 3."""
PARTITION_VARIANCE = 5.0
"""The variance above which neurons are partition neurons, as a multiple of that of a random direction, 1 / width. The
paper's code has 0.005 for a model of width 1024."""
