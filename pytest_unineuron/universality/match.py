"""Excess correlation across seeds: how well every unit is matched in another model, beyond a random basis.

The partner of a unit is chosen on the selection split of the document groups, which needs one large product per
batch; its correlation is then read on the held-out split, group by group. Partners in random bases, chosen and read
in the same way, are the baseline (Gurnee et al. 2024, equation 3). So nothing is read where it was chosen, and every
number has a delete-a-group interval. Where memory allows, a model reads the text once, whatever the number of seeds;
where it does not, the products are computed in blocks, see ``blocks``, and activations again for each block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup, compute_uncached, merged
from pytest_unineuron.statistics.correlation import CentredUnits, PairComoments
from pytest_unineuron.statistics.resampling import leave_one_out_sums
from pytest_unineuron.statistics.tf32 import tf32_allowed
from pytest_unineuron.system.machine import format_gib
from pytest_unineuron.system.process import returning_memory
from pytest_unineuron.universality.blocks import blocks_within
from pytest_unineuron.universality.choice import Choice, PartnerSearch
from pytest_unineuron.universality.kinds import KINDS
from pytest_unineuron.universality.products import BlockProducts
from pytest_unineuron.universality.seeds import comparison_cost
from pytest_unineuron.universality.selection import SelectionUnits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.forward_pass import Consumer
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.universality.blocks import ProductBlock
    from pytest_unineuron.universality.seeds import SeedActivations
    from pytest_unineuron.universality.units import ComparedModel

    Progress = Callable[[Sequence[Any]], Iterable[Any]]
    PairsByGroup = dict[tuple[str, int], dict[int, PairComoments]]
    """The sums of chosen pairs of a kind and a seed, by document group."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The units of one kind of a model, matched in one seed.

    ``layer`` and ``partner_layer`` are [unit]. ``pairs`` holds, for each document group of the held-out split, the
    sums of all comparisons, [1 + basis, unit]: the partner first, then one direction per random basis. Units without
    a partner, having never varied, are nan throughout.
    """

    choice: Choice
    layer: Tensor
    partner_layer: Tensor
    pairs: tuple[PairComoments, ...]

    @cached_property
    def _leave_one_out(self) -> list[PairComoments]:
        return leave_one_out_sums(self.pairs)

    def pairs_of(self, groups: Sequence[int]) -> PairComoments:
        """The sums of all comparisons over some document groups, [1 + basis, unit]."""
        left_out = set(range(len(self.pairs))) - set(groups)
        if len(left_out) == 1 and groups:
            return self._leave_one_out[left_out.pop()]
        return reduce(add, (self.pairs[group] for group in groups))

    @property
    def sign(self) -> Tensor:
        """The sign with which each comparison was chosen, [1 + basis, unit]."""
        return torch.stack([chosen.sign for chosen in self.choice.all])


@dataclass(frozen=True)
class Resources:
    """The means of a comparison.

    ``memory`` (bytes) bounds everything beside the models and what the seeds keep, in every process. ``processes``
    share the batches, and ``compute_part`` stores the part of each. ``progress`` may wrap the steps in a bar, and
    ``announce`` is given one line if products have to be computed in blocks, which begins with ``title``.
    """

    memory: float = 8e9
    processes: ProcessGroup = SINGLE_PROCESS
    compute_part: ComputePart = compute_uncached
    progress: Progress | None = None
    announce: Callable[[str], None] | None = None
    title: str = "comparison"


def match(
    subject: ComparedModel,
    batches: Sequence[Batch],
    seeds: Sequence[SeedActivations],
    *,
    kinds: Collection[str] = KINDS,
    also: Sequence[Consumer] = (),
    resources: Resources | None = None,
) -> dict[str, list[Matches]]:
    """The matches of the units of ``subject``, reading ``batches``, in every one of ``seeds``, by kind of unit.

    The batches are those that the seeds read, with tokens in the same places. The pass of the subject over them feeds
    the consumers in ``also`` too. Raises OptionError if there is too little memory.

    On a GPU, partners are chosen by products in TF32 where its rounding is less than chance, see ``tf32``; this goes
    for ϱ by the paper's procedure too, which is read where it was chosen. What is read for chosen pairs is float32.
    """
    return _Comparison(subject, batches, seeds, kinds, also, resources or Resources()).run()


class _Comparison:
    """One comparison, from its products to its matches."""

    def __init__(
        self,
        subject: ComparedModel,
        batches: Sequence[Batch],
        seeds: Sequence[SeedActivations],
        kinds: Collection[str],
        also: Sequence[Consumer],
        resources: Resources,
    ) -> None:
        self._subject, self._batches, self._seeds, self._also = subject, batches, seeds, also
        self._resources, self._processes = resources, resources.processes
        cost = comparison_cost(subject, batches, seeds, kinds)
        self._kinds = cost.kinds
        # Sums that are exchanged, or stored for another attempt, exist twice meanwhile.
        memory = resources.memory / (2 if self._processes.count > 1 else 1)
        self._blocks = blocks_within(cost, memory)
        self._tf32 = tf32_allowed(cost.selection_tokens, subject.model.device.type, subject.dtype)
        self._selection, self._held_out = map(self._numbers, (0, 1))
        if len(self._blocks) > 1 and resources.announce:
            resources.announce(
                f"{resources.title}: {len(self._blocks)} blocks of products within {format_gib(memory)}; activations "
                "are computed again for each block"
            )

    def run(self) -> dict[str, list[Matches]]:
        """Choose partners, read their correlations, and return the matches."""
        for seed in self._seeds:
            seed.draw_bases()
        steps = self._steps()
        with returning_memory(on=len(self._blocks) > 1):
            choices = self._choose(steps)
            pairs = self._read(choices, steps)
        for _ in steps:  # what was finished before is over too
            pass
        return {
            kind: [
                self._matches(kind, seed, choices[kind, index], pairs[kind, index])
                for index, seed in enumerate(self._seeds)
            ]
            for kind in self._kinds
        }

    def _numbers(self, odd: int) -> Sequence[int]:
        """The batches of one split that this process reads; consumers want those too that compare nothing."""
        wanted = [
            number
            for number, batch in enumerate(self._batches)
            if batch.group % 2 == odd and (self._also or batch.n_compared)
        ]
        return self._processes.shard(wanted)

    @property
    def _passes(self) -> list[tuple[ProductBlock, Sequence[int]]]:
        """Every block of products with the batches that are read for it; only the first pass feeds other consumers."""
        again = [number for number in self._selection if self._batches[number].n_compared]
        return [(block, again if place else self._selection) for place, block in enumerate(self._blocks)]

    def _steps(self) -> Iterator[Any]:
        """One step for each batch that is read, in one progress bar over all blocks."""
        numbers = [*(number for _, of_block in self._passes for number in of_block), *self._held_out]
        return iter(self._resources.progress(numbers) if self._resources.progress else numbers)

    # -- selection split -------------------------------------------------------------------------------------

    def _choose(self, steps: Iterator[Any]) -> dict[tuple[str, int], Choice]:
        """The partners in every seed, by kind and number of the seed."""
        searches = {
            (kind, index): PartnerSearch(
                seed, kind, sum(self._subject.sizes(kind)), absolute=self._subject.arbitrary_sign(kind)
            )
            for index, seed in enumerate(self._seeds)
            for kind in self._kinds
        }
        units = SelectionUnits(self._subject, self._batches, self._kinds)
        for block, numbers in self._passes:
            for cell, sums in self._products(block, numbers, units, steps).finished():
                searches[cell.kind, cell.seed].update(sums, cell)
            del sums  # before those of the next block are computed
        return self._processes.broadcast(lambda: {key: search.choice() for key, search in searches.items()})

    def _products(
        self, block: ProductBlock, numbers: Sequence[int], units: SelectionUnits, steps: Iterator[Any]
    ) -> BlockProducts:
        """The co-moments of a block over all processes."""
        products = BlockProducts(block, self._seeds, tf32=self._tf32)
        also = self._also if block is self._blocks[0] else ()

        def accumulate() -> Any:
            for number in numbers:
                next(steps)
                found = units.units(number, products.kinds, also)
                if found:
                    products.update(number, found)
            return products.as_tensors() if self._processes.count > 1 else None

        # How the text is cut into blocks depends on more than the key of the result.
        own = self._resources.compute_part(f"products {_short_digest(repr(block))}", accumulate)
        if self._processes.count > 1:
            products.join(own, self._processes, self._subject.model.device)
        return products

    # -- held-out split --------------------------------------------------------------------------------------

    def _read(self, choices: dict[tuple[str, int], Choice], steps: Iterator[Any]) -> PairsByGroup:
        """The sums of chosen pairs over all processes."""

        def accumulate() -> PairsByGroup:
            pairs: PairsByGroup = {key: {} for key in choices}
            for number in self._held_out:
                next(steps)
                self._read_batch(number, choices, pairs)
            return pairs

        partners = [best.partner.tolist() for choice in choices.values() for best in choice.all]
        own = self._resources.compute_part(f"pairs {_short_digest(repr(partners))}", accumulate)
        return reduce(partial(merged, add=merged), self._processes.all_gather(own))

    def _read_batch(self, number: int, choices: dict[tuple[str, int], Choice], pairs: PairsByGroup) -> None:
        """Add the chosen pairs of one batch to those of its document group."""
        batch = self._batches[number]
        observed = self._subject.observe(batch, self._kinds, self._also)
        if not batch.n_compared:
            return
        xs = {kind: CentredUnits.of(observed.pop(kind)) for kind in self._kinds}
        for index, seed in enumerate(self._seeds):
            ys = seed.held_out_units(number)
            for kind in self._kinds:
                partners = (best.partner.clamp_min(0) for best in choices[kind, index].all)
                new = PairComoments.of(xs[kind], zip(ys.pop(kind), partners, strict=True))
                pairs[kind, index] = merged(pairs[kind, index], {batch.group: new})

    def _matches(self, kind: str, seed: SeedActivations, choice: Choice, pairs: dict[int, PairComoments]) -> Matches:
        layers = torch.tensor(seed.model.layers(kind))
        partner = choice.direct.partner.cpu()
        return Matches(
            choice=choice,
            layer=torch.tensor(self._subject.layers(kind)),
            partner_layer=torch.where(partner < 0, -1, layers[partner.clamp_min(0)]),
            pairs=tuple(pairs[group] for group in sorted(pairs)),
        )


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
