"""The weights of one attention head, as they are or with the norm in front of them folded in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.weights.weight_view import centred, fold

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.attention import Head, HeadPart
    from pytest_unineuron.models.weights.weight_view import WeightView


def require_heads(view: WeightView) -> tuple[Head, ...]:
    """Return the heads of a model. Raises NotApplicable if their queries and keys are not separate."""
    if not view.anatomy.heads:
        raise NotApplicable("no attention with separate query and key projections was found")
    return view.anatomy.heads


def weight_of(view: WeightView, part: HeadPart) -> Tensor:
    """Return the rows of a projection that are one head's query, key or value, [dimension of the head, width]."""
    return view.linear(part.projection, part.width).weight[list(part.rows)]


def folded(view: WeightView, part: HeadPart) -> Tensor:
    """Return the same with the norm in front folded in. Raises NotApplicable where the norm cannot be folded."""
    if part.input_norm.obstacle:
        raise NotApplicable(f"attention cannot be folded: {part.input_norm.obstacle}")
    return fold(weight_of(view, part), view.norm(part.input_norm.norm, part.width))


def output_weight(view: WeightView, head: Head) -> Tensor:
    """Return W_O, by which a head writes its values, [width, dimension of the head]. Raises NotApplicable."""
    if head.out is None:
        raise NotApplicable("no projection reads the values of this model's heads one by one")
    return view.linear(head.out, head.inputs).weight[:, list(head.columns)]


def folded_output(view: WeightView, head: Head) -> Tensor:
    """Return the same with the norm behind attention folded in, if a block has one for what its heads write.

    Where norms subtract their mean, it is without what it adds to all features alike. Raises NotApplicable.
    """
    rows = output_weight(view, head).T
    if (own := view.norm(head.out_norm, view.anatomy.width)) is not None:
        rows = fold(centred(rows) if own.centres else rows, replace(own, centres=False))
    return (centred(rows) if view.final_norm_centres else rows).T


def require_plain_queries(*heads: Head) -> None:
    """Raise NotApplicable for heads of which a query or key passes a norm before the two are compared.

    The size of the weights changes nothing then, and how much they compare depends on the gain of that norm.
    """
    if any(head.query.own_norm or head.key.own_norm for head in heads):
        raise NotApplicable("the queries and keys of this model have norms of their own")


def require_norms_of_heads(view: WeightView, *norms: str) -> None:
    """Raise NotApplicable where a norm in front of heads is also that behind the neurons of the block before.

    It norms the whole stream, as in BERT, so that what neurons write reaches heads through several norms.
    """
    if view.own_norms.intersection(norms):
        raise NotApplicable("the blocks of this model norm the whole stream, which heads read through several norms")


def require_value(head: Head) -> HeadPart:
    """Return the value of a head. Raises NotApplicable if it has none of its own."""
    if head.value is None:
        raise NotApplicable("the values of this model's heads are not rows of one projection")
    return head.value
