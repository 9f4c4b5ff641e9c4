"""What attention heads attend to: statistics of attention probabilities, gathered batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

QUANTITIES = ("first", "previous", "own", "largest", "entropy")
"""The attention of a query token to the first position, to the one before it and to its own, the largest to any
position, and the entropy in nats of its attention."""
ROUNDING = 0.01
"""Attention probabilities of half precision may sum to so much more than 1."""

SAME = 0.05
"""Outputs that differ by less than this share of their norm differ by the rounding of another kind of attention."""


@dataclass(frozen=True, eq=False)
class AttentionSums:
    """Sums over query tokens of what each head attends to, by document group; all are float64.

    ``sums`` and ``squares`` are [quantity, head, group] in the order of ``QUANTITIES``; ``even`` [quantity, group] are
    the sums of a head that attends to all positions that it can see alike, and ``tokens`` [quantity, group] how many
    query tokens there are. ``layer`` [head] has the number of the block of each head.
    """

    layer: Tensor
    sums: Tensor
    squares: Tensor
    even: Tensor
    tokens: Tensor

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return self.tokens.shape[1]

    def only(self, chosen: Sequence[int]) -> AttentionSums:
        """Return the sums of some document groups."""
        groups = list(chosen)
        parts = (part[..., groups] for part in (self.sums, self.squares, self.even, self.tokens))
        return AttentionSums(self.layer, *parts)

    def mean(self, quantity: str) -> Tensor:
        """Return the mean of a quantity over query tokens, [head]; nan where there are none."""
        return self._per_token(self.sums, quantity)

    def variance(self, quantity: str) -> Tensor:
        """Return its population variance over query tokens, [head]."""
        return (self._per_token(self.squares, quantity) - self.mean(quantity) ** 2).clamp_min(0)

    def even_mean(self, quantity: str) -> Tensor:
        """Return the mean of a quantity for a head that attends to all positions that it can see alike, []."""
        return self._per_token(self.even, quantity)

    def _per_token(self, sums: Tensor, quantity: str) -> Tensor:
        number = QUANTITIES.index(quantity)
        return sums[number].sum(dim=-1) / self.tokens[number].sum()


def attention_sums(view: WeightView, batches: Sequence[Batch], first_query: int = 0) -> AttentionSums:
    """Return sums of what each head attends to, over the tokens at positions from ``first_query`` on.

    Tokens of text count, and with ``first_query`` 0 special tokens too. The attention of one batch is in memory at a
    time. Raises NotApplicable for a model whose attention probabilities cannot be had.
    """
    layer = head_layers(view)
    groups = 1 + max(batch.group for batch in batches)
    sums, squares = torch.zeros(2, len(QUANTITIES), len(layer), groups, dtype=torch.float64)
    even, tokens = torch.zeros(2, len(QUANTITIES), groups, dtype=torch.float64)
    with returned_attention(view, batches[0]):
        for batch in batches:
            heads = 0
            for pattern in attention_patterns(view, batch):
                counted = _by_quantity(counted_queries(batch, first_query)).to(pattern.device)
                values = quantities(pattern).double()  # [quantity, row, head, query]
                place = (slice(None), slice(heads, heads + pattern.shape[1]), batch.group)
                sums[place] += torch.einsum("qrhi,qri->qh", values, counted).cpu()
                squares[place] += torch.einsum("qrhi,qri->qh", values**2, counted).cpu()
                if not heads:
                    alike = quantities(even_attention(pattern, batch)[:, None])[:, :, 0]
                    even[:, batch.group] += (alike * counted).sum(dim=(1, 2)).cpu()
                    tokens[:, batch.group] += counted.sum(dim=(1, 2)).cpu()
                heads += pattern.shape[1]
    return AttentionSums(torch.tensor(layer), sums, squares, even, tokens)


def quantities(pattern: Tensor) -> Tensor:
    """Return what is read of attention probabilities [row, head, query, key], [quantity, row, head, query].

    The first position has none before it, so its ``previous`` is 0.
    """
    previous = torch.nn.functional.pad(pattern.diagonal(offset=-1, dim1=-2, dim2=-1), (1, 0))
    own, entropy = pattern.diagonal(dim1=-2, dim2=-1), torch.special.entr(pattern).sum(dim=-1)
    return torch.stack([pattern[..., 0], previous, own, pattern.amax(dim=-1), entropy])


def counted_queries(batch: Batch, first_query: int) -> Tensor:
    """Return which tokens count as queries, [row, position]: those of text, and with ``first_query`` 0 all."""
    counted = batch.text_mask.clone() if first_query else batch.attention_mask.bool()
    counted[:, :first_query] = False
    return counted


def even_attention(pattern: Tensor, batch: Batch) -> Tensor:
    """Return equal probabilities of all keys that each query can see, [row, query, key] float64.

    They are all tokens, or those that do not come later in a model whose ``pattern`` has nothing there.
    """
    visible = batch.attention_mask.to(pattern.device, torch.float64)[:, None].expand(-1, pattern.shape[-2], -1)
    if not bool(pattern.triu(1).any()):
        visible = visible.tril()
    return visible / visible.sum(dim=-1, keepdim=True).clamp_min(1)


def attention_patterns(view: WeightView, batch: Batch) -> list[Tensor]:
    """Return the attention probabilities of every layer with heads, [row, head, query, key] each, at least float32.

    ``returned_attention`` has to be open. Raises NotApplicable for a model that does not return its attention, or that
    returns other numbers.
    """
    name = type(view.loaded.model).__name__
    output = run_model(view.loaded.model, batch.ids, batch.attention_mask, attentions=True)
    found = [each for each in getattr(output, "attentions", None) or () if each is not None]
    if not found:
        raise NotApplicable(f"{name} does not return its attention")
    tokens = batch.ids.shape[1]
    shapes = [(len(batch.ids), heads, tokens, tokens) for _, heads in _layers(view)]
    if [tuple(each.shape) for each in found] != shapes:
        raise NotApplicable(f"{name} returns its attention in another form than [row, head, query, key] of every layer")
    patterns: list[Tensor] = [each if each.dtype.itemsize > 2 else each.float() for each in found]
    for pattern in patterns:
        if bool((pattern < 0).any()) or bool((pattern.sum(dim=-1) > 1 + ROUNDING).any()):
            raise NotApplicable(f"{name} returns numbers as its attention that are no probabilities")
    return patterns


def head_layers(view: WeightView) -> list[int]:
    """Return the number of the block of each head, [head]. Raises NotApplicable for a model without attention."""
    return [number for number, heads in _layers(view) for _ in range(heads)]


def _layers(view: WeightView) -> list[tuple[int, int]]:
    """The number of the block and the number of heads of every attention."""
    anatomy = view.anatomy
    starts = [number for number, head in enumerate(anatomy.heads) if head.index == 0]
    found = [(anatomy.heads[start].layer, end - start) for start, end in pairwise((*starts, len(anatomy.heads)))]
    found = found or [(attention.layer, attention.heads) for attention in anatomy.attentions]
    if not found:
        raise NotApplicable(f"no attention heads were found in {type(view.loaded.model).__name__}")
    return found


def _by_quantity(counted: Tensor) -> Tensor:
    """The counted queries [row, position] of every quantity, [quantity, row, position]; none comes before the first."""
    found = counted.double().expand(len(QUANTITIES), -1, -1).clone()
    found[QUANTITIES.index("previous"), :, 0] = 0
    return found


@contextmanager
def returned_attention(view: WeightView, sample: Batch) -> Iterator[None]:
    """While open, the model can return its attention. Raises NotApplicable if it cannot.

    It cannot either if it computes something else meanwhile, as Falcon does in transformers 5.21, where queries see
    later keys as soon as attention is returned. That is tried on one batch.
    """
    model, mask = view.loaded.model, sample.attention_mask.bool()
    usual = run_model(model, sample.ids, sample.attention_mask)[0][mask].double()
    with eager_attention(model):
        found = run_model(model, sample.ids, sample.attention_mask, attentions=True)[0][mask].double()
        if not bool((found - usual).norm() <= SAME * usual.norm()):
            raise NotApplicable(f"{type(model).__name__} computes something else when it returns its attention")
        yield


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """While open, the model computes attention in a way that can return it."""
    before = getattr(model.config, "_attn_implementation", None)
    try:
        model.set_attn_implementation("eager")
    except (AttributeError, ValueError) as error:
        raise NotApplicable(f"{type(model).__name__} does not return its attention") from error
    try:
        yield
    finally:
        model.set_attn_implementation(before)
