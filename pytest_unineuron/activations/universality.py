"""Excess correlation across seeds: how well every unit is matched in another model, beyond a random basis.

The partner of a unit is chosen on one half of the document groups, which needs one large product per batch;
its correlation is then read on the other half, group by group, pair by pair. What is chosen and read for random
bases in the same way is the baseline. So nothing is read where it was chosen, and every number has a
delete-a-group interval. Where memory allows, a model reads the text once, whatever the number of seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.units import HEADS, KINDS, NEURONS, Member
from pytest_unineuron.statistics.correlation import Best, Centred, Covariation, Pairs, Shifted, best_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.counterpart import Counterpart
    from pytest_unineuron.activations.sweep import Sweeper
    from pytest_unineuron.corpora.blocks import Batch

    Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for the units of one kind in one seed.

    ``direct`` is the best unit of the seed for each unit, ``rotated`` the best direction in each random basis
    of its standardised units, ``raw`` the best ρ in one basis of unstandardised ones, the paper's baseline.
    """

    direct: Best
    rotated: tuple[Best, ...]
    raw: Tensor

    @property
    def all(self) -> tuple[Best, ...]:
        """What is compared: the unit, then one direction per random basis."""
        return self.direct, *self.rotated


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
    pairs: tuple[Pairs, ...]

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
) -> dict[str, list[Matches]]:
    """How the units of ``subject``, reading ``batches``, are matched in every one of ``seeds``, by kind of unit.

    The batches are those that the seeds read, with tokens in the same places. ``memory`` bounds the products
    in bytes: past it, the layers of the subject are taken in blocks, and the choosing half is read once per
    block. A ``sweeper`` gathers its statistics from the same pass.
    """
    chosen: dict[tuple[str, int], list[Choice]] = {}
    for number, rows in enumerate(_row_blocks(subject, seeds, memory)):
        sums = gather(subject, batches, seeds, rows, kinds=(NEURONS,) if number else kinds,
                      sweeper=None if number else sweeper, progress=progress)  # fmt: skip
        for (kind, index), of in sums.items():
            made = choose(of, seeds[index], kind, absolute=_signless(subject, kind))
            chosen.setdefault((kind, index), []).append(made)
        del sums  # before the next block's are made
    choices = {key: _joined(blocks) for key, blocks in chosen.items()}
    pairs: dict[tuple[str, int], dict[int, Pairs]] = {key: {} for key in choices}
    for number in _numbers(batches, 1, progress):
        batch = batches[number]
        xs = {kind: Centred.of(units) for kind, units in subject.observe(batch, kinds, sweeper).items()}
        if not batch.compared:
            continue
        for (kind, index), choice in choices.items():
            ys = seeds[index].compared(number)[kind]
            partners = [best.partner.clamp_min(0) for best in choice.all]
            new = Pairs.of(xs[kind], *zip(ys, partners, strict=True))
            before = pairs[kind, index].get(batch.group)
            pairs[kind, index][batch.group] = new if before is None else before + new
    return {
        kind: [
            _matches(subject, seed.member, kind, choices[kind, index], pairs[kind, index])
            for index, seed in enumerate(seeds)
        ]
        for kind in kinds
        if all((kind, index) in choices for index in range(len(seeds)))
    }


def _numbers(batches: Sequence[Batch], half: int, progress: Progress | None) -> Iterable[int]:
    """The batches of one half, by number."""
    numbers = [number for number, batch in enumerate(batches) if batch.group % 2 == half]
    return progress(numbers) if progress else numbers


def _row_blocks(subject: Member, seeds: Sequence[Counterpart], memory: float) -> list[slice]:
    """The subject's neurons in runs of whole layers, as many as the products of one run leave room for."""
    columns = sum(sum(seed.member.sizes(NEURONS)) for seed in seeds)
    blocks, start, stop = [], 0, 0
    for size in subject.sizes(NEURONS):
        if stop > start and 4.0 * (stop + size - start) * columns > memory:
            blocks.append(slice(start, stop))
            start = stop
        stop += size
    return [*blocks, slice(start, stop)]


def gather(
    subject: Member,
    batches: Sequence[Batch],
    seeds: Sequence[Counterpart],
    rows: slice = slice(None),
    *,
    kinds: Sequence[str] = KINDS,
    sweeper: Sweeper | None = None,
    progress: Progress | None = None,
) -> dict[tuple[str, int], Covariation]:
    """The co-moments of the subject's units with those of every seed on the choosing half, by kind and seed.

    ``rows`` are the neurons of the subject that are taken; of the other kinds all are.
    """
    sums: dict[tuple[str, int], Covariation] = {}
    shifts: dict[str, Tensor] = {}
    for number in _numbers(batches, 0, progress):
        observed = subject.observe(batches[number], kinds, sweeper)
        if not batches[number].compared:
            continue
        for kind, units in observed.items():
            x = Shifted.of(units[:, rows] if kind == NEURONS else units, shifts.get(kind))
            shifts[kind] = x.shift
            for index, seed in enumerate(seeds):
                y = seed.units(number).get(kind)
                if y is None:
                    continue
                if (kind, index) not in sums:
                    sums[kind, index] = Covariation(x.shift, y.shift)
                sums[kind, index].take(x, y)
    return sums


def _signless(subject: Member, kind: str) -> bool:
    """Whether the sign of a unit is arbitrary: a gated or rotated neuron, a direction of a stream; not a norm."""
    if kind == NEURONS:
        return subject.change is not None or any(site.gated for site in subject.anatomy.plan.sites)
    return kind != HEADS


def choose(sums: Covariation, seed: Counterpart, kind: str, *, absolute: bool) -> Choice:
    """Partners by the sums of the choosing half, directly and in random bases."""
    columns = seed.columns(kind)

    def in_basis(draw: int, *, standardised: bool) -> Best:
        blocks = (
            sums.rotated(of_layer, seed.directions(kind, layer, draw, standardised=standardised))
            for layer, of_layer in enumerate(columns)
        )
        return best_of(blocks, absolute=absolute)

    return Choice(
        direct=best_of(map(sums.correlation, columns), absolute=absolute),
        rotated=tuple(in_basis(draw, standardised=True) for draw in range(seed.draws)),
        raw=in_basis(0, standardised=False).correlation,
    )


def _joined(blocks: list[Choice]) -> Choice:
    """The choices of several runs of rows as one; the random bases are the same in all of them."""
    return Choice(
        direct=_beside([b.direct for b in blocks]),
        rotated=tuple(_beside(list(of_draw)) for of_draw in zip(*(b.rotated for b in blocks), strict=True)),
        raw=torch.cat([b.raw for b in blocks]),
    )


def _beside(parts: list[Best]) -> Best:
    return Best(*(torch.cat([getattr(p, name) for p in parts]) for name in ("partner", "correlation", "sign")))


def _matches(subject: Member, member: Member, kind: str, choice: Choice, pairs: dict[int, Pairs]) -> Matches:
    layers = torch.tensor(member.layers(kind))
    partner = choice.direct.partner.cpu()
    return Matches(
        choice=choice,
        layer=torch.tensor(subject.layers(kind)),
        partner_layer=torch.where(partner < 0, -1, layers[partner.clamp_min(0)]),
        pairs=tuple(pairs[group] for group in sorted(pairs)),
    )
