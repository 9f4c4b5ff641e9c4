"""Position neurons: their mean activation rises, or falls, with the position in the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy import stats

from pytest_unineuron.roles.label_sums import sums_by_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

LEAST = 8
"""A position at which fewer tokens were read, in either half of the documents, is left out."""


def position_correlations(view: WeightView, batches: Sequence[Batch]) -> tuple[Tensor, int]:
    """Return Spearman's correlation of the mean post-activation at a position with the position, [half, neuron].

    The number of positions that were read comes with it. The halves are the document groups of even and of odd numbers:
    of many neurons, some go with position by chance, but not with the same sign in other documents. nan for a neuron
    whose mean is the same everywhere, and for all neurons where fewer than two positions were read.
    """
    sums, tokens = sums_by_position(view, batches)
    read = (tokens >= LEAST).all(dim=0)
    means = sums[:, :, read] / tokens[:, None, read]  # [half, neuron, position]
    positions = int(read.sum())
    ranks = torch.from_numpy(stats.rankdata(means.numpy(), axis=-1)) - (positions + 1) / 2
    place = torch.arange(positions, dtype=torch.float64) - (positions - 1) / 2
    size = ranks.norm(dim=-1) * place.norm()
    return torch.where(size > 0, ranks @ place / size, torch.nan), positions


def position_information(view: WeightView, batches: Sequence[Batch]) -> Tensor:
    """Return the mutual information of being on and the position, in nats, [neuron] float64.

    It is that of a token drawn from a position at random, with all positions alike (Gurnee et al. 2024, section 4.3):
    the mean over positions of the divergence of Bernoulli(share on at this position) from Bernoulli(their mean). It is
    0 for a neuron that is on as often everywhere, and ln 2 at most. Chance adds to it what a few tokens a position
    leave open: up to the mean over positions of 1 / (2 × tokens there). nan where no position has enough tokens.
    """
    on, tokens = sums_by_position(view, batches, on=True)
    read = (tokens >= LEAST).all(dim=0)
    return information(on[:, :, read].sum(dim=0) / tokens[:, read].sum(dim=0))


def information(shares: Tensor) -> Tensor:
    """Return the mean divergence of shares [..., position] in [0, 1] from their mean, in nats [...]."""
    mean = shares.mean(dim=-1, keepdim=True).expand_as(shares)
    both: list[Tensor] = [
        torch.special.xlogy(p, p) - torch.special.xlogy(p, q) for p, q in ((shares, mean), (1 - shares, 1 - mean))
    ]
    return torch.stack(both).sum(dim=0).mean(dim=-1).clamp(min=0)


def sums_by_position(view: WeightView, batches: Sequence[Batch], *, on: bool = False) -> tuple[Tensor, Tensor]:
    """Return sums of post-activations [half, neuron, position] and the number of tokens [half, position], float64.

    They are over text tokens; a position is that in the row, with special tokens counted. With ``on``, it is the number
    of tokens at which a neuron is on, instead of a sum.
    """
    width = max(batch.ids.shape[1] for batch in batches)

    def label(batch: Batch) -> Tensor:
        return (batch.group % 2 * width + torch.arange(batch.ids.shape[1])).expand(batch.ids.shape)

    sums, tokens = sums_by_label(view, view.anatomy.layout.per_token, batches, 2 * width, label, on=on)
    return sums.unflatten(1, (2, width)).transpose(0, 1), tokens.view(2, width)
