"""Excess correlation across seeds: how well every unit is matched in another model, beyond a random basis.

The partner of a unit is chosen on one half of the document groups, which needs one large product per batch;
its correlation is then read on the other half, group by group, pair by pair. What is chosen and read for random
bases in the same way is the baseline. So nothing is read where it was chosen, and every number has a
delete-a-group interval. Where memory allows, a model reads the text once, whatever the number of seeds; where it
does not, the products are taken in blocks, see budget and ways.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup, compute_uncached
from pytest_unineuron.statistics.correlation import CentredUnits, PairComoments
from pytest_unineuron.statistics.tf32 import tf32_allowed
from pytest_unineuron.system.process import returning_memory
from pytest_unineuron.universality import spill
from pytest_unineuron.universality.choice import Choice, Searching
from pytest_unineuron.universality.products import Sums
from pytest_unineuron.universality.reader import Reader
from pytest_unineuron.universality.seeds import task_of
from pytest_unineuron.universality.units import HEADS, KINDS, NEURONS, Member
from pytest_unineuron.universality.ways import AGAIN, Rates, told, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.sweep import Sweeper
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.distributed.single_process import ComputePart
    from pytest_unineuron.universality.cost import Block
    from pytest_unineuron.universality.seeds import Counterpart

    Read = dict[tuple[str, int], dict[int, PairComoments]]
    """What was read for the pairs of a kind and a seed, by document group."""
    Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Matches:
    """The units of one kind of a model, matched in one seed.

    ``layer`` and ``partner_layer`` are [unit]. ``pairs`` holds, for each document group of the reading half,
    the sums of all comparisons, [1 + draw, unit]: the partner first, then one direction per random basis.
    ``sign`` is [1 + draw, unit]. Units without a partner, having never varied, are nan throughout.
    """

    choice: Choice
    layer: Tensor
    partner_layer: Tensor
    pairs: tuple[PairComoments, ...]

    @property
    def sign(self) -> Tensor:
        """The sign each comparison was chosen with."""
        return torch.stack([chosen.sign for chosen in self.choice.all])


def match(
    subject: Member,
    batches: Sequence[Batch],
    seeds: Sequence[Counterpart],
    *,
    kinds: Sequence[str] = KINDS,
    memory: float = 8e9,
    sweeper: Sweeper | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    title: str = "comparison",
    rates: Rates | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    compute_part: ComputePart = compute_uncached,
) -> dict[str, list[Matches]]:
    """How the units of ``subject``, reading ``batches``, are matched in every one of ``seeds``, by kind of unit.

    The batches are those that the seeds read, with tokens in the same places. All that is needed beside the models
    and what the seeds keep stays within ``memory`` (bytes), in every process: where products do not fit, they are
    taken in blocks, and activations are kept, spilled to disk or computed again, whichever is estimated to be the
    quickest from the ``rates`` of this machine (measured, if not given). ``announce`` is told so in one line before
    it starts. A ``sweeper`` gathers its statistics from the same pass. Raises OptionError if there is too little
    memory.

    On a GPU partners are chosen by products in TF32 where their rounding is less than chance, see tf32; that goes
    for the paper's ϱ too, which is read where it was chosen. What is read for chosen pairs is float32.

    ``processes`` share the batches: each gathers sums over its own, which are added up before anything is chosen, and
    again when all is read; ``keep`` keeps the part of each of them.
    """
    task = task_of(subject, batches, seeds, kinds)
    if processes.count > 1:
        memory /= 2  # what is exchanged, or kept for another attempt, is there twice meanwhile
    blocks, places = task.blocks(memory), [seed.place for seed in seeds]
    place = AGAIN
    if len(blocks) > 1:
        rates = rates or processes.broadcast(lambda: measured(subject, batches))
        found = ways(task, memory, places, rates)
        blocks, (place, *places) = list(found[0].blocks), found[0].places
        if announce:
            announce(told(title, memory, found))
    for seed, there in zip(seeds, places, strict=True):
        seed.place = there
        seed.draw()
    choosing, reading = (
        processes.shard(
            [n for n, batch in enumerate(batches) if batch.group % 2 == half and (sweeper or batch.n_compared)]
        )
        for half in (0, 1)
    )
    again = [number for number in choosing if batches[number].n_compared]
    passes = [choosing, *[again] * (len(blocks) - 1)]
    steps = [number for of_block in (*passes, reading) for number in of_block]
    ticks = iter(progress(steps) if progress else steps)  # one bar over all blocks
    searches = {
        (kind, index): Searching(seed, kind, sum(subject.sizes(kind)), absolute=_signless(subject, kind))
        for index, seed in enumerate(seeds)
        for kind in task.kinds
    }
    fast = tf32_allowed(task.choosing, subject.model.device.type, subject.dtype)
    with returning_memory(on=len(blocks) > 1), Reader(subject, batches, task.kinds, place) as reader:
        for block, numbers in zip(blocks, passes, strict=True):
            sums = Sums(block, seeds, fast=fast)

            def gathered(sums: Sums = sums, block: Block = block, numbers: Sequence[int] = numbers) -> Any:
                for number in numbers:
                    next(ticks)
                    units = reader.units(number, sums.wanted, sweeper if block is blocks[0] else None)
                    if units:
                        sums.take(number, units)
                return sums.as_tensors() if processes.count > 1 else None

            # How text is cut into blocks depends on more than the key that results are kept under.
            own = compute_part(f"products {_digest(repr(block))}", gathered)
            if processes.count > 1:
                sums.join(own, processes, subject.model.device)
            for cell, of_cell in sums.finished():
                searches[cell.kind, cell.seed].look(of_cell, cell)
            del sums  # before the next block's are made
    choices = processes.broadcast(lambda: {key: search.choice() for key, search in searches.items()})

    def read() -> Read:
        pairs: Read = {key: {} for key in choices}
        for number in reading:
            next(ticks)
            batch = batches[number]
            observed = subject.observe(batch, task.kinds, sweeper)
            if not batch.n_compared:
                continue
            xs = {kind: CentredUnits.of(observed.pop(kind)) for kind in task.kinds}
            for index, seed in enumerate(seeds):
                ys = seed.compared(number)
                for kind in task.kinds:
                    partners = (best.partner.clamp_min(0) for best in choices[kind, index].all)
                    new = PairComoments.of(xs[kind], zip(ys.pop(kind), partners, strict=True))
                    before = pairs[kind, index].get(batch.group)
                    pairs[kind, index][batch.group] = new if before is None else before + new
        return pairs

    partners = [best.partner.tolist() for choice in choices.values() for best in choice.all]
    with returning_memory(on=len(blocks) > 1):
        pairs = reduce(_together, processes.all_gather(compute_part(f"pairs {_digest(repr(partners))}", read)))
    for _ in ticks:  # so that a bar knows it is done, also of what was finished before
        pass
    return {
        kind: [
            _matches(subject, seed.member, kind, choices[kind, index], pairs[kind, index])
            for index, seed in enumerate(seeds)
        ]
        for kind in task.kinds
    }


def measured(subject: Member, batches: Sequence[Batch]) -> Rates:
    """How fast this machine is: at one forward pass, and at writing and reading a few megabytes, if it can."""
    choosing = [batch for batch in batches if batch.group % 2 == 0 and batch.n_compared]
    start = time.perf_counter()
    subject.observe(choosing[0])
    took = time.perf_counter() - start
    positions = sum(batch.ids.numel() for batch in choosing) / choosing[0].ids.numel()
    try:
        disk = spill.rates()
    except OSError:
        disk = 1.0, 1.0, 0.0
    return Rates(took * positions, *disk)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _together(one: Read, other: Read) -> Read:
    """What was read of different batches, for the same choices."""
    return {
        key: {
            group: reduce(add, (part[group] for part in (of_one, other[key]) if group in part))
            for group in of_one.keys() | other[key].keys()
        }
        for key, of_one in one.items()
    }


def _signless(subject: Member, kind: str) -> bool:
    """Whether the sign of a unit is arbitrary: a gated or rotated neuron, a direction of a stream; not a norm."""
    if kind == NEURONS:
        return subject.change is not None or any(layer.gated for layer in subject.anatomy.layout.layers)
    return kind != HEADS


def _matches(subject: Member, member: Member, kind: str, choice: Choice, pairs: dict[int, PairComoments]) -> Matches:
    layers = torch.tensor(member.layers(kind))
    partner = choice.direct.partner.cpu()
    return Matches(
        choice=choice,
        layer=torch.tensor(subject.layers(kind)),
        partner_layer=torch.where(partner < 0, -1, layers[partner.clamp_min(0)]),
        pairs=tuple(pairs[group] for group in sorted(pairs)),
    )
