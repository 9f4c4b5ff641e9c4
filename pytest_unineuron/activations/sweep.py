"""The single pass: every statistic that any trial needs, from one forward pass over a corpus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.capture import caught
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.statistics import ALL, Sum, swept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch, Blocks
    from pytest_unineuron.models.plan import Plan

Change = "Callable[[str, int, Tensor], Tensor]"
"""Makes other units of a layer's units: (site, layer number, [token, unit]) to [token, unit]."""


@dataclass(frozen=True)
class Swept:
    """The finished statistics of one model on one corpus, per document group: never an activation.

    ``sums`` holds for each group the statistic at each (site, name), with the units of all layers side by
    side, in float64 on the CPU.
    """

    sums: tuple[dict[tuple[str, str], Any], ...]
    tokens: tuple[int, ...]
    documents: tuple[int, ...]

    @property
    def groups(self) -> int:
        """How many document groups there are."""
        return len(self.sums)

    def without(self, group: int) -> Swept:
        """All groups but one."""
        keep = [i for i in range(self.groups) if i != group]
        return Swept(
            tuple(self.sums[i] for i in keep),
            tuple(self.tokens[i] for i in keep),
            tuple(self.documents[i] for i in keep),
        )

    def total(self, site: str, name: str) -> Any:
        """One statistic over all groups. Raises NotApplicable for a site that the model does not have."""
        if not all((site, name) in group for group in self.sums):
            raise NotApplicable(f"the model shows no {site} activations")
        return reduce(add, (group[site, name] for group in self.sums))


class Sweeper:
    """Gathers what a pass of a model over ``blocks`` has to say, whoever makes the pass.

    ``start`` announces a batch, ``receive`` takes its activations. ``change`` turns the units of a layer into
    others before anything is gathered, as a rotation does, which can cost more than the pass itself: ``sites``
    may leave some out.
    """

    def __init__(
        self,
        blocks: Blocks,
        device: Any,
        *,
        sites: frozenset[str] = ALL,
        change: Callable[[str, int, Tensor], Tensor] | None = None,
    ) -> None:
        self._blocks = blocks
        self._device = device
        self._sites = {site: swept(site) for site in sites}
        self._change = change
        self._widths: dict[tuple[str, int], int] = {}
        self._state: dict[tuple[int, str, str, int], Sum] = {}
        self._tokens: dict[int, int] = defaultdict(int)
        self._group = 0

    def start(self, batch: Batch) -> None:
        """What is received from now on belongs to this batch."""
        self._group = batch.group
        self._counts = batch.counts.flatten().to(self._device)
        self._every_label = batch.labels.flatten().to(self._device)
        self._labels = self._every_label[self._counts]
        self._numbers = torch.arange(batch.offset, batch.offset + batch.tokens, device=self._device)
        self._tokens[batch.group] += batch.tokens

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None = None) -> None:
        """The activations of one layer, [token, unit], at all tokens of the batch or at those numbered ``tokens``."""
        if site not in self._sites:
            return
        self._widths[site, index] = values.shape[1]
        if tokens is None:
            units, numbers, labels = values[self._counts], self._numbers, self._labels
        else:  # an expert's
            counts = self._counts[tokens]
            units, tokens = values[counts], tokens[counts]
            numbers = self._numbers[0] + self._counts.cumsum(0)[tokens] - 1
            labels = self._every_label[tokens]
        if not len(units):
            return
        if self._change is not None:
            units = self._change(site, index, units)
        for name, kind in self._sites[site].items():
            key = (self._group, site, name, index)
            new = kind.of(units, numbers, labels)
            self._state[key] = self._state[key] + new if key in self._state else new

    def finished(self) -> Swept:
        """The statistics. Raises ModelError if an activation was not finite."""
        return _finished(self._state, self._widths, self._tokens, self._blocks)


def sweep(
    model: Any,
    plan: Plan,
    blocks: Blocks,
    *,
    batch: int,
    sites: frozenset[str] = ALL,
    change: Callable[[str, int, Tensor], Tensor] | None = None,
    progress: Callable[[Sequence[Batch]], Iterable[Batch]] | None = None,
) -> Swept:
    """One pass of ``model`` over ``blocks``, about ``batch`` positions at a time.

    ``sites`` and ``change`` are those of the Sweeper. ``progress`` may wrap the batches in a bar. Raises
    ModelError if an activation is not finite.
    """
    batches = blocks.batches(batch)
    sweeper = Sweeper(blocks, model.device, sites=sites, change=change)
    with caught(model, plan, sweeper.receive) as capture:
        for part in progress(batches) if progress else batches:
            sweeper.start(part)
            capture.forward(part.ids, part.attended)
    return sweeper.finished()


def _finished(
    state: dict[tuple[int, str, str, int], Sum], widths: dict[tuple[str, int], int], tokens: dict[int, int],
    blocks: Blocks,
) -> Swept:  # fmt: skip
    groups = sorted(tokens)
    documents = {group: len({b.document for b in blocks.blocks if b.document % blocks.groups == group})
                 for group in groups}  # fmt: skip
    sums = []
    for group in groups:
        joined: dict[tuple[str, str], list[Any]] = {}
        for (site, index), width in sorted(widths.items()):
            for name, kind in swept(site).items():
                key = (group, site, name, index)
                joined.setdefault((site, name), []).append(state[key] if key in state else _of_no_token(kind, width))
        sums.append({key: type(parts[0]).beside([_on_cpu(part) for part in parts]) for key, parts in joined.items()})
    for group_sums in sums:
        for (site, name), statistic in group_sums.items():
            if name == "moments" and not bool(torch.isfinite(statistic.mean).all()):
                raise ModelError(f"activations at the {site} site are not finite; try --unineuron-dtype float32")
    return Swept(tuple(sums), tuple(tokens[g] for g in groups), tuple(documents[g] for g in groups))


def _of_no_token(kind: type[Sum], width: int) -> Sum:
    """What is known of an expert's neurons in a group of documents that no token of was routed to it."""
    none = torch.zeros(0, dtype=torch.int64)
    return kind.of(torch.zeros(0, width), none, none)


def _on_cpu(statistic: Any) -> Any:
    return type(statistic)(*(getattr(statistic, name).cpu() for name in statistic.__dataclass_fields__))
