"""A sweep: statistics of the activations of a model on a corpus, from one forward pass."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.forward_pass import Consumer, run_pass
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup, compute_uncached, merged
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.statistics import DEFAULT_SITES, RESIDUAL, statistic_class, statistics_for
from pytest_unineuron.statistics.accumulator import Accumulator, accumulate
from pytest_unineuron.statistics.layer_batch import LayerBatch, Selection
from pytest_unineuron.statistics.resampling import leave_one_out_sums
from pytest_unineuron.statistics.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.forward_pass import Encoding
    from pytest_unineuron.corpora.blocks import Batch, Blocks
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.models.discovery.attention import AttentionLayer
    from pytest_unineuron.models.discovery.layout import NeuronLayout

    Transform = Callable[[str, int, Tensor], Tensor]
    """Makes other units of a layer's units: (site, layer, [token, unit]) to [token, unit]."""


@dataclass(frozen=True)
class SweepResult:
    """The finished statistics of one model on one corpus, by document group: no activation is left.

    ``sums`` holds for each group the statistic at each (site, name), with the units of all layers side by side, in
    float64 on the CPU; ``tokens`` and ``documents`` count those of each group. ``sinks`` are the same statistics of the
    ``sink_tokens`` sinks of all groups, which are in no group and in no total.
    """

    sums: tuple[dict[tuple[str, str], Any], ...]
    tokens: tuple[int, ...]
    documents: tuple[int, ...]
    sinks: dict[tuple[str, str], Any] = field(default_factory=dict)
    sink_tokens: int = 0

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return len(self.sums)

    @cached_property
    def with_sinks(self) -> SweepResult:
        """The statistics over all tokens; if there are sinks, in one group, so that they have no interval."""
        if not self.sinks:
            return self
        both = {key: self.total(*key) + of_sinks for key, of_sinks in self.sinks.items()}
        return SweepResult((both,), (sum(self.tokens) + self.sink_tokens,), (sum(self.documents),))

    @cached_property
    def _totals(self) -> dict[tuple[str, str], Any]:
        return {}

    @cached_property
    def _leave_one_out(self) -> dict[tuple[str, str], list[Any]]:
        return {}

    def total(self, site: str, name: str) -> Any:
        """One statistic over all groups. Raises NotApplicable for a site that the model does not have."""
        if not all((site, name) in group for group in self.sums):
            raise NotApplicable(f"the model shows no {site} activations")
        if (site, name) not in self._totals:
            self._totals[site, name] = reduce(add, (group[site, name] for group in self.sums))
        return self._totals[site, name]

    def total_without(self, site: str, name: str, left_out: int) -> Any:
        """One statistic over all groups but one. Raises NotApplicable as ``total`` does."""
        self.total(site, name)
        if (site, name) not in self._leave_one_out:
            self._leave_one_out[site, name] = leave_one_out_sums([group[site, name] for group in self.sums])
        return self._leave_one_out[site, name][left_out]

    def without(self, group: int) -> SweepResult:
        """The statistics of all groups but one."""
        keep = [number for number in range(self.groups) if number != group]
        return _WithoutGroup(
            tuple(self.sums[number] for number in keep),
            tuple(self.tokens[number] for number in keep),
            tuple(self.documents[number] for number in keep),
            source=self,
            left_out=group,
        )

    def only(self, group: int) -> SweepResult:
        """The statistics of one group."""
        return SweepResult((self.sums[group],), (self.tokens[group],), (self.documents[group],))


@dataclass(frozen=True, kw_only=True)
class _WithoutGroup(SweepResult):
    """The statistics of all groups of ``source`` but one, whose totals the source computes for all groups at once."""

    source: SweepResult
    left_out: int

    @cached_property
    def with_sinks(self) -> SweepResult:
        """Raises ValueError: sinks are counted for all groups together."""
        raise ValueError("statistics with sinks have no groups; measure neurons.with_sinks without an interval")

    def total(self, site: str, name: str) -> Any:
        return self.source.total_without(site, name, self.left_out)


@dataclass(frozen=True)
class PartialStatistics:
    """The statistics of some of the batches; ``+`` joins them with those of others.

    ``sums`` holds the statistics by group, site and layer, and there by name, on the CPU; ``widths`` the number of
    units by site and layer; and ``tokens`` the number of tokens by group.
    """

    sums: dict[tuple[int, str, int], dict[str, Any]]
    widths: dict[tuple[str, int], int]
    tokens: dict[int, int]

    def __add__(self, other: PartialStatistics) -> PartialStatistics:
        """The statistics of the batches of both."""
        sums = merged(self.sums, other.sums, merged)
        return PartialStatistics(sums, self.widths | other.widths, merged(self.tokens, other.tokens))


class StatisticsConsumer(Consumer):
    """Accumulates statistics of a pass of a model over ``blocks``. On a GPU nothing is waited for.

    ``statistics`` names those wanted at each site. ``transform`` makes other units of a layer's units first, as a
    rotation does, which can cost more than the pass itself.
    """

    def __init__(
        self,
        blocks: Blocks,
        device: Any,
        *,
        statistics: Mapping[str, Collection[str]] | None = None,
        transform: Transform | None = None,
    ) -> None:
        names = statistics_for(DEFAULT_SITES) if statistics is None else statistics
        self._classes = {site: {name: statistic_class(name) for name in of_site} for site, of_site in names.items()}
        self.sites = frozenset(self._classes)
        self._blocks = blocks
        self._device = device
        self._transform = transform
        self._widths: dict[tuple[str, int], int] = {}
        self._accumulators: dict[tuple[int, str, int], dict[str, Accumulator[Any]]] = {}  # by group, site and layer
        self._scratch = Scratch()
        self._tokens: dict[int, int] = defaultdict(int)
        self._selections: dict[int, Selection] = {}
        self._sink_group = blocks.groups

    def start_batch(self, batch: Batch) -> None:
        """Select the text tokens of a batch, and its sinks for a group of their own beyond those of documents."""
        text, sinks, labels = (mask.flatten() for mask in (batch.text_mask, batch.sink_mask, batch.labels))
        numbers = text.cumsum(0) + (batch.offset - 1)
        masks = {batch.group: text & ~sinks} | ({self._sink_group: sinks} if bool(sinks.any()) else {})
        self._selections = {group: Selection(mask, numbers, labels, self._device) for group, mask in masks.items()}
        for group, selection in self._selections.items():
            self._tokens[group] += len(selection)

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None = None) -> None:
        """Accumulate the activations of one layer, [token, unit]; ``tokens`` are those of an expert."""
        self._widths[site, index] = values.shape[1]
        for group, selection in self._selections.items():
            batch = selection.layer_batch(values, tokens)
            if len(batch):
                self._accumulate((group, site, index), batch)

    def _accumulate(self, key: tuple[int, str, int], batch: LayerBatch) -> None:
        """Add the activations of one layer to the statistics of a group, site and layer."""
        _, site, index = key
        values = batch.values
        if self._transform is not None:
            units = values if batch.text_rows is None else values[batch.text_rows]
            batch = LayerBatch(self._transform(site, index, units), batch.tokens, batch.labels)
        if key not in self._accumulators:
            self._accumulators[key] = {
                name: kind.accumulator(values.shape[1], values.device) for name, kind in self._classes[site].items()
            }
        accumulate(batch, self._accumulators[key].values(), self._scratch)

    def partial(self) -> PartialStatistics:
        """The statistics of everything that was received so far."""
        sums = {
            key: {name: accumulator.result().cpu() for name, accumulator in of_layer.items()}
            for key, of_layer in self._accumulators.items()
        }
        return PartialStatistics(sums, dict(self._widths), dict(self._tokens))

    def result(self, partial: PartialStatistics | None = None) -> SweepResult:
        """The finished statistics of everything that was received, or of the parts of all processes together.

        Raises ModelError if an activation was not finite, or some tokens were missed or read twice.
        """
        partial = partial or self.partial()
        if (found := sum(partial.tokens.values())) != self._blocks.tokens:
            raise ModelError(
                f"{found} of {self._blocks.tokens} tokens were swept; give all processes the same arguments"
            )
        groups = sorted(group for group in partial.tokens if group != self._sink_group)
        documents = [self._blocks.documents_of(group) for group in groups]
        sums = tuple(self._side_by_side(partial, group) for group in groups)
        n_sinks = partial.tokens.get(self._sink_group, 0)
        sinks = self._side_by_side(partial, self._sink_group) if n_sinks else {}
        for of_group in (*sums, sinks):
            _check_finite_means(of_group)
        return SweepResult(sums, tuple(partial.tokens[group] for group in groups), tuple(documents), sinks, n_sinks)

    def _side_by_side(self, partial: PartialStatistics, group: int) -> dict[tuple[str, str], Any]:
        """The statistics of one group at each (site, name), with the units of all layers side by side."""
        layers: dict[tuple[str, str], list[Any]] = {}
        for (site, index), width in sorted(partial.widths.items()):
            found = partial.sums.get((group, site, index), {})
            for name, kind in self._classes[site].items():
                empty = kind.accumulator(width, "cpu").result  # an expert may have seen no token of a group
                layers.setdefault((site, name), []).append(found[name] if name in found else empty())
        return {key: type(parts[0]).concat_units(parts) for key, parts in layers.items()}


def _check_finite_means(sums: Mapping[tuple[str, str], Any]) -> None:
    """Raise ModelError if the mean of a unit is not finite."""
    for (site, name), statistic in sums.items():
        if name == "moments" and not bool(torch.isfinite(statistic.mean).all()):
            raise ModelError(f"activations at the {site} site are not finite; try --unineuron-dtype float32")


def sweep(
    model: Any,
    layout: NeuronLayout,
    batches: Sequence[Batch],
    consumers: Sequence[StatisticsConsumer],
    *,
    attentions: Sequence[AttentionLayer] = (),
    encodings: Mapping[str, Encoding] | None = None,
    progress: Callable[[Sequence[Batch]], Iterable[Batch]] | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    compute_part: ComputePart = compute_uncached,
) -> list[SweepResult]:
    """The results of all consumers after one pass of ``model`` over ``batches``.

    ``attentions`` and ``encodings`` are those of ``run_pass``. ``progress`` may wrap the batches in a bar.
    ``processes`` share the batches, and ``compute_part`` stores the part of each. Raises ModelError if an activation is
    not finite.
    """
    own_batches = processes.shard(batches)

    def accumulated() -> list[PartialStatistics]:
        shown = progress(own_batches) if progress else own_batches
        run_pass(model, layout, shown, consumers, attentions=attentions, encodings=encodings)
        return [consumer.partial() for consumer in consumers]

    # A part of batches of another size is another part.
    sizes = f"{len(batches)} batches of up to {max(batch.ids.numel() for batch in batches)} positions"
    parts = processes.all_gather(compute_part(f"sweep {sizes}", accumulated))
    return [
        consumer.result(_with_all_experts(reduce(add, (part[number] for part in parts)), layout))
        for number, consumer in enumerate(consumers)
    ]


def _with_all_experts(partial: PartialStatistics, layout: NeuronLayout) -> PartialStatistics:
    """The statistics with the widths of all experts: those of an expert that no token reached are empty."""
    sites = {site for site, _ in partial.widths} - {RESIDUAL}
    experts = {number: layer.width for number, layer in enumerate(layout.layers) if layer.expert is not None}
    widths = {(site, number): width for site in sites for number, width in experts.items()}
    return replace(partial, widths=widths | partial.widths)
