"""Runs of one arm over a small part of a corpus, for instruments that intervene, or that watch closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, zip_longest
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.lab.arm import RUN_TOKENS
from pytest_unineuron.lab.instrument import digest_of, name_of
from pytest_unineuron.roles.interventions import LOGITS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from pytest_unineuron.corpora.blocks import Batch, Block, Blocks
    from pytest_unineuron.lab.results import Recall
    from pytest_unineuron.models.weights.weight_view import WeightView
    from pytest_unineuron.universality.match import Progress

FEWEST = 6
"""Batches that thinning has to leave: intervals are over document groups, of which each has batches of its own."""
RUN_LENGTH = 128
"""The most tokens of a block that are read. Of longer ones, a small part would hold few, and few document groups."""


class Runs:
    """Runs of an arm over some batches, of which ``layer`` [neuron] has the layer of each neuron.

    ``batches`` returns them, given a title for what reads them. ``recall`` returns what an instrument
    found before, or has it computed. For a control arm, ``subject`` are the runs of the model itself.
    """

    def __init__(
        self,
        view: WeightView,
        batches: Callable[[str], Sequence[Batch]],
        recall: Recall,
        layer: NDArray[np.int64],
        subject: Runs | None = None,
    ) -> None:
        self._view = view
        self._batches = batches
        self._recall = recall
        self.layer = layer
        self.subject = subject

    def role(self, instrument: Callable[..., Any], *given: Any) -> Any:
        """Return ``instrument(view, batches, *given)``; a tensor as an array.

        It is computed once per arm and text, unless it is given more than tensors and plain values.
        """
        title = name_of(instrument).rpartition(".")[2].replace("_", " ")
        found = self._recall(instrument, digest_of(given), lambda: instrument(self._view, self._batches(title), *given))
        return found.cpu().numpy() if isinstance(found, torch.Tensor) else found

    def thinned(self, step: int) -> Runs:
        """Return runs over every ``step``-th batch alone, for instruments that make a model run very often.

        Where that would leave too few, it is all batches.
        """

        def batches(title: str) -> Sequence[Batch]:
            whole = self._batches(title)
            return whole[::step] if len(whole) >= step * FEWEST else whole

        return Runs(
            self._view,
            batches,
            lambda instrument, given, compute: self._recall(
                instrument, None if given is None else f"{given}/{step}", compute
            ),
            self.layer,
            self.subject.thinned(step) if self.subject else None,
        )


class ShownBatches(Sequence["Batch"]):
    """Batches that a progress bar, if there is one, is drawn for whenever they are read in turn."""

    def __init__(self, batches: Sequence[Batch], bar: Progress | None) -> None:
        self._batches, self._bar = batches, bar

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, at: Any) -> Any:
        found = self._batches[at]
        return ShownBatches(found, self._bar) if isinstance(at, slice) else found

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._bar(self._batches) if self._bar else self._batches)


def small_batches(blocks: Blocks, positions: int, vocabulary: int) -> list[Batch]:
    """Return a small part of some blocks in batches of at most so many positions, fewer where logits are many."""
    return small_part(blocks).batches(min(positions, LOGITS_AT_ONCE // vocabulary))


def small_part(blocks: Blocks, most: int = RUN_TOKENS) -> Blocks:
    """Return the openings of some blocks, of all document groups in turn.

    They have at most ``most`` tokens of text, but they are two at least.
    """
    queues: dict[int, list[Block]] = {}
    for block in (opening(whole, RUN_LENGTH) for whole in blocks.blocks):
        queues.setdefault(block.document % blocks.groups, []).append(block)
    in_turn = [block for row in zip_longest(*queues.values()) for block in row if block is not None]
    tokens = list(accumulate(sum(block.text_mask) for block in in_turn))
    few = max(2, sum(count <= most for count in tokens))
    return replace(blocks, blocks=tuple(in_turn[:few]), sinks=())


def opening(block: Block, length: int) -> Block:
    """Return the first tokens of a block with the special tokens after its text, ``length`` in all at most.

    Where these alone are as many, they are left out.
    """
    after = next((number for number, text in enumerate(reversed(block.text_mask)) if text), 0)
    if after >= length:
        after = 0
    end = len(block.ids) - after  # of the text
    start = min(end, length - after)
    return replace(
        block,
        ids=block.ids[:start] + block.ids[end:],
        text_mask=block.text_mask[:start] + block.text_mask[end:],
        labels=block.labels[:start] + block.labels[end:],
    )
