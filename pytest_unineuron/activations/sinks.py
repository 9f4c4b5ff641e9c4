"""Attention sinks: tokens, such as the first of a text, whose residual stream is far larger than that of others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.forward_pass import Consumer, run_pass
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup, compute_uncached
from pytest_unineuron.statistics import RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.models.discovery.layout import NeuronLayout

SINK_NORM = 20.0
"""A token is a sink if the norm of its residual stream exceeds the median over tokens by this factor. Massive
activations exceed the median by factors of hundreds and more (Sun et al. 2024); ordinary tokens stay within a few."""


@dataclass(frozen=True)
class Sinks:
    """The attention sinks of a model on a text (Xiao et al. 2023).

    ``tokens`` are their numbers among the text tokens in the order of batches, and ``positions`` their positions in
    their blocks, from 0 with special tokens. ``share`` is their share of all text tokens, and ``fourth_moment`` their
    share of the sum of fourth powers of the middle residual stream.
    """

    tokens: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    share: float = 0.0
    fourth_moment: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Return JSON data for the report; ``positions`` are the ten most frequent with their counts."""
        positions = {str(position): count for position, count in Counter(self.positions).most_common(10)}
        shares = {"share": self.share, "fourth_moment": self.fourth_moment}
        return {"tokens": len(self.tokens), "positions": positions, **shares}


class StreamNorms(Consumer):
    """Collects the norm of the middle residual stream at every text token."""

    sites = frozenset({RESIDUAL})

    def __init__(self) -> None:
        self._rows = self._tokens = torch.empty(0)
        self._found: list[Tensor] = []

    def start_batch(self, batch: Batch) -> None:
        """Prepare the number and the position of every text token of a batch."""
        self._rows = batch.text_mask.flatten().nonzero().flatten()
        numbers = torch.arange(batch.offset, batch.offset + len(self._rows))
        self._tokens = torch.stack([numbers, self._rows % batch.ids.shape[1]]).double()

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        """Take the residual stream [row, feature]."""
        stream = values[self._rows.to(values.device)].double()
        numbers = torch.stack([torch.linalg.vector_norm(stream, dim=1), stream.pow(4).sum(dim=1)])
        self._found.append(torch.cat([self._tokens.to(numbers.device), numbers]))

    def result(self) -> Tensor:
        """The number, position, norm and sum of fourth powers of every token, [quantity, token] float64 on the CPU."""
        return torch.cat([found.cpu() for found in self._found], dim=1) if self._found else torch.empty(4, 0)


def sinks_of(norms: Tensor) -> Sinks:
    """Return the sinks among tokens, given as ``StreamNorms.result`` returns them."""
    number, position, norm, fourth = norms[:, norms[0].argsort()]
    large = norm > SINK_NORM * norm.median()
    if not bool(large.any()):
        return Sinks()
    return Sinks(
        tokens=tuple(number[large].long().tolist()),
        positions=tuple(position[large].long().tolist()),
        share=float(large.double().mean()),
        fourth_moment=float(fourth[large].sum() / fourth.sum()),
    )


def find_sinks(
    model: nn.Module,
    layout: NeuronLayout,
    batches: Sequence[Batch],
    *,
    progress: Callable[[Sequence[Batch]], Iterable[Batch]] | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    compute_part: ComputePart = compute_uncached,
) -> Sinks:
    """Return the sinks of a model, from one pass up to the middle; none if its residual stream cannot be read.

    The arguments are those of ``sweep``.
    """
    if layout.stream is None:
        return Sinks()
    own_batches = processes.shard(batches)

    def norms() -> Tensor:
        consumer, shown = StreamNorms(), progress(own_batches) if progress else own_batches
        run_pass(model, replace(layout, layers=()), shown, [consumer])
        return consumer.result()

    parts = processes.all_gather(compute_part(f"sinks in {len(batches)} batches", norms))
    return sinks_of(torch.cat(parts, dim=1))
