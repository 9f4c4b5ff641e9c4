"""Whether heads attend alike: correlations of attention probabilities between the heads of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.roles.attention import (
    attention_patterns,
    counted_queries,
    even_attention,
    head_layers,
    returned_attention,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView


@dataclass(frozen=True, eq=False)
class PatternProducts:
    """Sums of products of the attention probabilities of two models, over pairs of a query and a key.

    ``products`` has, for each layer, the sums by document group of all products of ones, the heads of a model and those
    of the same layer of another one, in this order: [group, 1 + 2 · head, 1 + 2 · head] float64. ``layer`` [head] has
    the number of the block of each head, ``number`` [group] those of the groups.
    """

    layer: Tensor
    number: Tensor
    products: list[Tensor]

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return len(self.number)

    def only(self, chosen: Sequence[int]) -> PatternProducts:
        """Return the sums of some document groups."""
        groups = list(chosen)
        return PatternProducts(self.layer, self.number[groups], [of_layer[groups] for of_layer in self.products])

    def correlations(self) -> list[Tensor]:
        """Return the correlations of the heads of each layer with those of the other model, [head, other head].

        They are nan for a head whose probabilities never vary.
        """
        return [head_correlations(of_layer.sum(dim=0)) for of_layer in self.products]

    def matched(self) -> Tensor:
        """Return the correlation of every head with its partner in the same layer of the other model, [head].

        The partner is the head of the largest correlation in the document groups of even numbers, and the correlation
        is that in the others, so that picking the largest of several does not count as agreement.
        """
        even = self.number % 2 == 0
        halves = [self.only(half.nonzero().flatten().tolist()).correlations() for half in (even, ~even)]
        found = []
        for choosing, reading in zip(*halves, strict=True):
            partner = choosing.nan_to_num(-2.0).argmax(dim=1)
            found.append(reading.gather(1, partner[:, None])[:, 0])
        return torch.cat(found)


def head_correlations(products: Tensor) -> Tensor:
    """Return correlations from summed products [1 + 2 · head, 1 + 2 · head] of ones and two models, [head, head]."""
    heads = len(products) // 2
    mean = products[0, 1:] / products[0, 0]
    covariance = products[1:, 1:] / products[0, 0] - mean[:, None] * mean
    square = products.diagonal()[1:] / products[0, 0]
    deviation = covariance.diagonal().clamp_min(0).sqrt()
    deviation = torch.where(covariance.diagonal() > 1e-12 * square, deviation, torch.nan)
    return (covariance / deviation[:, None] / deviation)[:heads, heads:]


def pattern_products(
    view: WeightView,
    batches: Sequence[Batch],
    other: WeightView,
    others: Sequence[Batch],
    first_query: int = 0,
    *,
    flat: bool = False,
) -> PatternProducts:
    """Return the products of what two models of one architecture attend to on texts of the same lengths.

    Of each probability, that of a head that attends to all visible positions alike is subtracted, and only visible keys
    count; queries are those from ``first_query`` on. With ``flat``, whole matrices of probabilities are taken instead,
    with the zeros for keys that no query can see. Raises NotApplicable for a model whose attention probabilities cannot
    be had, and for models of different shapes.
    """
    layer = head_layers(view)
    if head_layers(other) != layer:
        raise NotApplicable("the two models do not have the same heads in each layer")
    groups = 1 + max(batch.group for batch in batches)
    products: list[Tensor] = []
    with returned_attention(view, batches[0]), returned_attention(other, others[0]):
        for batch, others_batch in zip(batches, others, strict=True):
            pairs = zip(attention_patterns(view, batch), attention_patterns(other, others_batch), strict=True)
            for number, pair in enumerate(pairs):
                found = _products(pair, batch, first_query, flat=flat)
                if number == len(products):
                    products.append(torch.zeros(groups, *found.shape, dtype=torch.float64))
                products[number][batch.group] += found.cpu()
    return PatternProducts(torch.tensor(layer), torch.arange(groups), products)


def _products(pair: tuple[Tensor, Tensor], batch: Batch, first_query: int, *, flat: bool) -> Tensor:
    """The products of ones and the attention of both models at one layer in one batch, float64."""
    even = even_attention(pair[0], batch)  # [row, query, key]
    counted = counted_queries(batch, first_query).to(even.device)[..., None]
    if flat:
        chosen, even = counted & counted.mT, torch.zeros_like(even)
    else:
        chosen = counted & (even > 0)
    heads = [pattern.double().transpose(0, 1)[:, chosen] - even[chosen] for pattern in pair]  # [head, query and key]
    values = torch.cat([torch.ones_like(heads[0][:1]), *heads])
    return values @ values.T
