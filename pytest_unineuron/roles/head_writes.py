"""What attention heads write: the vocabulary composition of their output directions."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.weights.heads import folded, folded_output, require_heads, require_value
from pytest_unineuron.roles.composition import cosine_moments, random_kurtosis, ranks

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.attention import Head
    from pytest_unineuron.models.weights.weight_view import WeightView


def head_kurtosis(view: WeightView) -> Tensor:
    """Return the kurtosis over the vocabulary of what every head writes, and its rank, [2, head] float64.

    It is that of the cosines of Ŵ_U with the left singular vectors of W_OV = W_O W_V, averaged with the squares of its
    singular values as weights, so that the basis of the values does not matter. The rank is the average of the share of
    random directions with a smaller kurtosis. Raises NotApplicable for heads whose values are not separate or not
    behind a norm, and for a model without an unembedding behind its last norm.
    """
    null = random_kurtosis(view)
    # The heads of a layer share a pass over the vocabulary.
    found = [_of_layer(view, list(heads), null) for _, heads in groupby(require_heads(view), lambda head: head.layer)]
    return torch.cat(found, dim=1).cpu()


def copying(view: WeightView) -> Tensor:
    """Return tr(W_OV) / ‖W_OV‖ of every head, [head] float64.

    It is positive if a head writes what it reads, and negative if it writes the opposite. For a head that reads one
    direction and writes one, it is the cosine of both, as of the weights of a neuron; of others its size is at most the
    square root of the head's dimension. Elhage et al. (2021) compare the eigenvalues of W_OV instead.
    0 for a head that writes nothing, nan for one that reads something else than the residual stream. Raises
    NotApplicable for heads whose values are not separate or not behind a norm.
    """
    found = []
    for head in require_heads(view):
        output, value = (of.double().cpu() for of in (folded_output(view, head), folded(view, require_value(head))))
        if output.T.shape != value.shape:
            found.append(torch.tensor(torch.nan, dtype=torch.float64))
            continue
        size = ((output.T @ output) * (value @ value.T)).sum().clamp(min=0).sqrt()  # ‖W_O W_V‖
        found.append(torch.where(size > 0, (output.T * value).sum() / size, 0.0))
    return torch.stack(found)


def _of_layer(view: WeightView, heads: list[Head], null: Tensor) -> Tensor:
    """The mean kurtosis and rank of what each head of one layer writes, [2, head]."""
    pairs = [output_directions(folded_output(view, h), folded(view, require_value(h))) for h in heads]
    directions = torch.cat([directions for directions, _ in pairs]).to(view.unembedding.device)
    kurtosis = cosine_moments(directions, view.unembedding).kurtosis
    weights = torch.where(kurtosis.isnan(), 0.0, torch.cat([values for _, values in pairs]).to(kurtosis) ** 2)
    both = torch.stack([kurtosis, ranks(kurtosis, null)]).nan_to_num(0.0) * weights
    sizes = [len(values) for _, values in pairs]
    means = [of.sum(dim=1) / w.sum() for of, w in zip(both.split(sizes, dim=1), weights.split(sizes), strict=True)]
    return torch.stack(means, dim=1)


def output_directions(output: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors [direction, width] and the singular values of W_O W_V.

    ``output`` W_O is [width, dimension of the head], ``value`` W_V [dimension of the head, width].
    """
    q, r = torch.linalg.qr(output.double())
    s = torch.linalg.qr(value.double().T).R
    left, values, _ = torch.linalg.svd(r @ s.T)
    return (q @ left).T, values
