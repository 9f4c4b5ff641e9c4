"""The single pass: every statistic that any trial needs, from one forward pass over a corpus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.capture import caught
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup, compute_uncached
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.statistics import DEFAULT_SITES, RESIDUAL, statistics_at
from pytest_unineuron.statistics.accumulator import Accumulator, Statistic, accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch
from pytest_unineuron.statistics.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch, Blocks
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.models.discovery.layout import NeuronLayout

Change = "Callable[[str, int, Tensor], Tensor]"
"""Makes other units of a layer's units: (site, layer number, [token, unit]) to [token, unit]."""

State = dict[tuple[int, str, int], dict[str, Accumulator[Any]]]
"""What is known so far, by group, site and layer number, and there by statistic."""


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


@dataclass(frozen=True)
class Part:
    """What was gathered of some of the batches. ``+`` joins it with what was gathered of others.

    ``sums`` holds the statistics by group, site and layer number, and there by name, on the CPU; ``widths`` says how
    many units there are by site and layer number, ``tokens`` how many tokens by group.
    """

    sums: dict[tuple[int, str, int], dict[str, Any]]
    widths: dict[tuple[str, int], int]
    tokens: dict[int, int]

    def __add__(self, other: Part) -> Part:
        """Both together."""
        sums = {key: dict(of_layer) for key, of_layer in self.sums.items()}
        for key, of_layer in other.sums.items():
            mine = sums.setdefault(key, {})
            for name, found in of_layer.items():
                mine[name] = mine[name] + found if name in mine else found
        groups = self.tokens.keys() | other.tokens.keys()
        tokens = {group: self.tokens.get(group, 0) + other.tokens.get(group, 0) for group in groups}
        return Part(sums, self.widths | other.widths, tokens)


class Sweeper:
    """Gathers what a pass of a model over ``blocks`` has to say, whoever makes the pass.

    ``start`` announces a batch, ``receive`` takes its activations, of which nothing is kept and, on a GPU, nothing
    waited for. ``change`` turns the units of a layer into others before anything is gathered, as a rotation does,
    which can cost more than the pass itself: ``sites`` may leave some out. ``statistics`` names those wanted at each
    site; without it they are all that ``STATISTICS`` has there.
    """

    def __init__(
        self,
        blocks: Blocks,
        device: Any,
        *,
        sites: frozenset[str] = DEFAULT_SITES,
        change: Callable[[str, int, Tensor], Tensor] | None = None,
        statistics: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._blocks = blocks
        self._device = device
        self._kinds = {site: _chosen(site, statistics) for site in sites}
        self._change = change
        self._widths: dict[tuple[str, int], int] = {}
        self._state: State = {}
        self._scratch = Scratch()
        self._tokens: dict[int, int] = defaultdict(int)
        self._group = 0

    @property
    def sites(self) -> frozenset[str]:
        """Of which sites anything is gathered."""
        return frozenset(self._kinds)

    @property
    def began(self) -> bool:
        """Whether a batch was announced."""
        return bool(self._tokens)

    def start(self, batch: Batch) -> None:
        """What is received from now on belongs to this batch."""
        counts, labels = batch.text_mask.flatten(), batch.labels.flatten()
        which = counts.nonzero().flatten()
        self._group = batch.group
        self._counts = counts.to(self._device)
        self._every_label = labels.to(self._device)
        self._labels = labels[which].to(self._device) if bool((labels[which] >= 0).any()) else None
        self._which = which.to(self._device) if len(which) < len(counts) else None
        self._numbers = torch.arange(batch.offset, batch.offset + len(which), device=self._device)
        self._tokens[batch.group] += len(which)

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None = None) -> None:
        """The activations of one layer, [token, unit], at all tokens of the batch or at those numbered ``tokens``."""
        if not (kinds := self._kinds.get(site)):
            return
        self._widths[site, index] = values.shape[1]
        rows = self._rows(values, tokens)
        if not len(rows):
            return
        if self._change is not None:
            units = values if rows.text_rows is None else values[rows.text_rows]
            rows = LayerBatch(self._change(site, index, units), rows.tokens, rows.labels)
        key = (self._group, site, index)
        if key not in self._state:
            self._state[key] = {name: kind.accumulator(values.shape[1], values.device) for name, kind in kinds.items()}
        accumulate(rows, self._state[key].values(), self._scratch)

    def _rows(self, values: Tensor, tokens: Tensor | None) -> LayerBatch:
        if tokens is None:
            return LayerBatch(values, self._numbers, self._labels, self._which)
        tokens = tokens.to(self._device)  # an expert's
        which = self._counts[tokens].nonzero().flatten()
        tokens = tokens[which]
        numbers = self._numbers[0] + self._counts.cumsum(0)[tokens] - 1
        return LayerBatch(values, numbers, self._every_label[tokens], which)

    def part(self) -> Part:
        """What was received so far."""
        sums = {
            key: {name: running.result().cpu() for name, running in of_layer.items()}
            for key, of_layer in self._state.items()
        }
        return Part(sums, dict(self._widths), dict(self._tokens))

    def finished(self, part: Part | None = None) -> Swept:
        """The statistics of all that was received, or of a ``part`` that others had a share in.

        Raises ModelError if an activation was not finite, or some tokens were missed or met twice.
        """
        return _finished(part or self.part(), self._kinds, self._blocks)


def sweep(
    model: Any,
    layout: NeuronLayout,
    blocks: Blocks,
    *,
    batch: int,
    sites: frozenset[str] = DEFAULT_SITES,
    change: Callable[[str, int, Tensor], Tensor] | None = None,
    statistics: Mapping[str, Collection[str]] | None = None,
    progress: Callable[[Sequence[Batch]], Iterable[Batch]] | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    compute_part: ComputePart = compute_uncached,
) -> Swept:
    """One pass of ``model`` over ``blocks``, about ``batch`` positions at a time.

    ``sites``, ``change`` and ``statistics`` are those of the Sweeper. ``progress`` may wrap the batches in a bar.
    ``processes`` share the batches, and ``compute_part`` stores the part of each of them.
    Raises ModelError if an activation is not finite.
    """
    batches = processes.shard(blocks.batches(batch))
    sweeper = Sweeper(blocks, model.device, sites=sites, change=change, statistics=statistics)

    def gathered() -> Part:
        with caught(model, layout, sweeper.receive, stream=RESIDUAL in sites) as capture:
            for each in progress(batches) if progress else batches:
                sweeper.start(each)
                capture.forward(each.ids, each.attention_mask)
        return sweeper.part()

    own = compute_part(f"sweep {batch} positions at a time", gathered)
    return sweeper.finished(reduce(add, processes.all_gather(own)))


def _chosen(site: str, statistics: Mapping[str, Collection[str]] | None) -> dict[str, type[Statistic]]:
    found = statistics_at(site)
    return found if statistics is None else {name: found[name] for name in statistics.get(site, ())}


def _finished(part: Part, kinds: dict[str, dict[str, type[Statistic]]], blocks: Blocks) -> Swept:
    groups = sorted(part.tokens)
    if (found := sum(part.tokens.values())) != blocks.tokens:
        raise ModelError(f"{found} of {blocks.tokens} tokens were swept; give all processes the same arguments")
    documents = {
        group: len({b.document for b in blocks.blocks if b.document % blocks.groups == group}) for group in groups
    }
    sums = []
    for group in groups:
        joined: dict[tuple[str, str], list[Any]] = {}
        for (site, index), width in sorted(part.widths.items()):
            for name, kind in kinds[site].items():
                known = part.sums.get((group, site, index), {})
                joined.setdefault((site, name), []).append(known.get(name) or kind.accumulator(width, "cpu").result())
        sums.append({key: type(parts[0]).concat_units(parts) for key, parts in joined.items()})
    for group_sums in sums:
        for (site, name), statistic in group_sums.items():
            if name == "moments" and not bool(torch.isfinite(statistic.mean).all()):
                raise ModelError(f"activations at the {site} site are not finite; try --unineuron-dtype float32")
    return Swept(tuple(sums), tuple(part.tokens[g] for g in groups), tuple(documents[g] for g in groups))
