"""Excess correlation across seeds: how well every unit is matched in another model, beyond a random basis.

The partner of a unit is chosen on one half of the document groups, which needs one large product per batch;
its correlation is then read on the other half, group by group, which needs none. What is chosen and read for
random bases in the same way is the baseline. So nothing is read where it was chosen, and every number has a
delete-a-group interval. A model reads the text once, whatever the number of seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.units import HEADS, KINDS, NEURONS, Member
from pytest_unineuron.controls.rotation import haar
from pytest_unineuron.statistics.correlation import Best, Covariation, Pairs, best_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import PairBatch

    Progress = Callable[[Sequence[PairBatch]], Iterable[PairBatch]]

DRAWS = 3
"""Random bases per seed; the baseline is their mean."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for the units of one kind in one seed.

    ``direct`` is the best unit of the seed for each unit, ``rotated`` the best direction in each random basis
    of its standardised units, ``raw`` the best ρ in a basis of unstandardised ones, the paper's baseline.
    ``bases`` are the directions, [draw][layer] [direction, unit].
    """

    direct: Best
    rotated: tuple[Best, ...]
    raw: Tensor
    bases: tuple[tuple[Tensor, ...], ...]
    sizes: tuple[int, ...]

    def columns(self, y: Tensor) -> Tensor:
        """What every unit is compared with, [1 + draw, token, unit], from the seed's units [token, unit]."""
        layers = y.split(self.sizes, dim=1)
        found = [y[:, self.direct.partner.clamp_min(0)]]
        for bases, chosen in zip(self.bases, self.rotated, strict=True):
            turned = torch.cat([layer @ basis.T for layer, basis in zip(layers, bases, strict=True)], dim=1)
            found.append(turned[:, chosen.partner.clamp_min(0)])
        return torch.stack(found)


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
        return torch.stack([self.choice.direct.sign, *(b.sign for b in self.choice.rotated)])


def match(
    subject: Member,
    seeds: Sequence[Member],
    batches: Sequence[PairBatch],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    memory: float = 8e9,
    progress: Progress | None = None,
) -> dict[str, list[Matches]]:
    """How the units of ``subject`` are matched in every one of ``seeds``, by kind of unit.

    Even document groups choose, odd ones read. ``memory`` bounds the products in bytes: past it, the layers
    of the subject are taken in blocks, and the choosing half is read once per block.
    """
    halves = [[part for part in batches if part.group % 2 == half] for half in (0, 1)]
    chosen: dict[tuple[str, int], list[Choice]] = {}
    for number, rows in enumerate(_row_blocks(subject, seeds, memory)):
        sums = _gather(subject, seeds, halves[0], rows, neurons_only=number > 0, progress=progress)
        for (kind, index), of in sums.items():
            made = _choose(of, absolute=_signless(subject, kind), draws=draws, seed=seed)
            chosen.setdefault((kind, index), []).append(made)
    choices = {key: _joined(blocks) for key, blocks in chosen.items()}
    pairs: dict[tuple[str, int], dict[int, Pairs]] = {key: {} for key in choices}
    for part in progress(halves[1]) if progress else halves[1]:
        xs, all_ys = subject.observe(*part.first), [member.observe(*part.second) for member in seeds]
        for (kind, index), choice in choices.items():
            x, y = xs[kind], choice.columns(all_ys[index][kind])
            new = Pairs.of(x.expand_as(y).transpose(0, 1), y.transpose(0, 1))
            before = pairs[kind, index].get(part.group)
            pairs[kind, index][part.group] = new if before is None else before + new
    return {
        kind: [
            _matches(subject, member, kind, choices[kind, index], pairs[kind, index])
            for index, member in enumerate(seeds)
        ]
        for kind in KINDS
        if (kind, 0) in choices
    }


def _row_blocks(subject: Member, seeds: Sequence[Member], memory: float) -> list[slice]:
    """The subject's neurons in runs of whole layers, as many as the products of one run leave room for."""
    columns = sum(sum(member.sizes(NEURONS)) for member in seeds)
    blocks, start, stop = [], 0, 0
    for size in subject.sizes(NEURONS):
        if stop > start and 4.0 * (stop + size - start) * columns > memory:
            blocks.append(slice(start, stop))
            start = stop
        stop += size
    return [*blocks, slice(start, stop)]


def _gather(
    subject: Member,
    seeds: Sequence[Member],
    batches: Sequence[PairBatch],
    rows: slice,
    *,
    neurons_only: bool,
    progress: Progress | None,
) -> dict[tuple[str, int], Covariation]:
    """The co-moments of the subject's units with those of every seed, by kind and seed."""
    sums: dict[tuple[str, int], Covariation] = {}
    for part in progress(batches) if progress else batches:
        xs = subject.observe(*part.first)
        for index, member in enumerate(seeds):
            ys = member.observe(*part.second)
            for kind in [NEURONS] if neurons_only else [kind for kind in KINDS if kind in xs and kind in ys]:
                x = xs[kind][:, rows] if kind == NEURONS else xs[kind]
                if (kind, index) not in sums:
                    sums[kind, index] = Covariation(x.mean(0), ys[kind].mean(0), member.sizes(kind))
                sums[kind, index].take(x, ys[kind])
    return sums


def _signless(subject: Member, kind: str) -> bool:
    """Whether the sign of a unit is arbitrary: a gated neuron, a direction of a stream; not a norm."""
    if kind == NEURONS:
        return any(site.gated for site in subject.anatomy.plan.sites)
    return kind != HEADS


def _choose(sums: Covariation, *, absolute: bool, draws: int, seed: int) -> Choice:
    """Partners by the sums of the choosing half, directly and in random bases."""
    deviation = sums.variance_y.sqrt()
    inverse = torch.where(deviation > 0, 1 / deviation, 0.0).float().split(sums.sizes)
    layers, bases, rotated, raw = range(len(sums.sizes)), [], [], []
    for draw in range(draws):
        turned = [
            haar(size, (31 * seed + draw) * 1009 + layer).to(deviation.device) for layer, size in enumerate(sums.sizes)
        ]
        standardised = tuple(basis * scale for basis, scale in zip(turned, inverse, strict=True))
        bases.append(standardised)
        rotated.append(best_of(map(sums.rotated, layers, standardised), absolute=absolute))
        raw.append(best_of(map(sums.rotated, layers, turned), absolute=absolute).correlation)
    direct = best_of(map(sums.correlation, layers), absolute=absolute)
    return Choice(direct, tuple(rotated), torch.stack(raw).mean(dim=0), tuple(bases), tuple(sums.sizes))


def _joined(blocks: list[Choice]) -> Choice:
    """The choices of several runs of rows as one; the random bases are the same in all of them."""
    first, *others = blocks
    if not others:
        return first
    return Choice(
        direct=_beside([b.direct for b in blocks]),
        rotated=tuple(_beside(list(of_draw)) for of_draw in zip(*(b.rotated for b in blocks), strict=True)),
        raw=torch.cat([b.raw for b in blocks]),
        bases=first.bases,
        sizes=first.sizes,
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
