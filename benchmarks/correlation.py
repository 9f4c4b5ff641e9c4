"""What comparing two seeds costs, against what it cannot do without: two passes and one product of all neurons."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from benchmarks import work
from benchmarks.answer import Answer
from benchmarks.timing import interleaved, timed
from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics.gemm import add_product, fast_linear
from pytest_unineuron.universality.choice import choose
from pytest_unineuron.universality.match import match
from pytest_unineuron.universality.products import gather
from pytest_unineuron.universality.seeds import SeedActivations
from pytest_unineuron.universality.units import NEURONS, ComparedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_unineuron.corpora.blocks import Batch

TITLE = "Correlation of two models, against two passes and one product of all their neurons"
COLUMNS = ("what", "seconds", "× the bound", "target", "× the bound, multiplied as ours")
BOUND = "two passes and a product (the bound)"
FAST = "the bound, multiplied as ours are"
PAIR = "all sums of a pair, those of every random basis included"
TARGETS = {PAIR: 1.10}


def answer(shape: work.Shape, batches: int, turns: int) -> Answer:
    """Measure it."""
    members = [work.member(work.model(shape, seed), shape) for seed in range(3)]
    given = work.text(work.ids(shape, batches)).batches(shape.tokens)
    with torch.inference_mode():
        warm = [lambda: bound(members, given[:1]), lambda: trial(members[:2], given[:2])]
        found = interleaved(_variants(members, given), turns, warm)
    rows = tuple(
        (name, of, of.over(found[BOUND]), TARGETS.get(name), of.over(found[FAST])) for name, of in found.items()
    )
    note = (
        f"{shape}, {batches} batches of them: {shape.all_units} neurons on each side. Best matches, and the search "
        "in three random bases, do not grow with the text."
    )
    return Answer("correlation", TITLE, COLUMNS, rows, note)


def _variants(members: Sequence[ComparedModel], batches: list[Batch]) -> dict[str, Callable[[], float]]:
    return {
        BOUND: lambda: bound(members, batches),
        FAST: lambda: bound(members, batches, fast=True),
        PAIR: lambda: pair(members, batches),
        "once a pair: best matches, in three random bases too": lambda: finish(members, batches),
        "a trial: chosen on half the text, read on the other": lambda: trial(members[:2], batches),
        "the same with two seeds": lambda: trial(members, batches),
    }


@timed
def forwards(members: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """Two passes as ours are, of which nothing is kept."""
    for batch in batches:
        for of in members[:2]:
            with capture_activations(of.model, of.anatomy.layout, lambda *_: None, stream=False) as capture:
                capture.forward(batch.ids, batch.attended)


@timed
def bound(members: Sequence[ComparedModel], batches: list[Batch], *, fast: bool = False) -> None:
    """What cannot be done without; ``fast`` by the library that multiplies faster on this machine."""
    units = sum(members[0].sizes(NEURONS))
    device = members[0].model.device
    product = torch.zeros(units, units, device=device)
    x = torch.ones(batches[0].tokens, units, device=device)
    if fast:
        x = x.T.contiguous().T  # units as they lie where products of them are taken
    for batch in batches:
        for of in members[:2]:
            with fast_linear(of.model) if fast else nullcontext():
                work.forward(of.model, batch)
        if fast:
            add_product(product, x, x)
        else:
            product.addmm_(x.T, x)


@timed
def pair(members: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """The sums from which every correlation and every baseline follows, over all tokens."""
    seed = SeedActivations(members[1], batches, kinds=(NEURONS,), room=0)  # no arm comes after this one
    gather(members[0], batches, [seed], kinds=(NEURONS,))


@timed
def finish(members: Sequence[ComparedModel], batches: list[Batch]) -> float:
    """From the sums to partners: what does not grow with the text. The time it began."""
    seed = SeedActivations(members[1], batches[:1], kinds=(NEURONS,))
    sums = gather(members[0], batches[:1], [seed], kinds=(NEURONS,))[NEURONS, 0]
    began = time.perf_counter()
    choose(sums, seed, NEURONS, absolute=False)
    return began


@timed
def trial(members: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """Partners in the seeds and in three random bases of each, chosen on every other batch and read on the rest."""
    halves = work.halves(batches)
    match(
        members[0], halves, [SeedActivations(seed, halves, kinds=(NEURONS,)) for seed in members[1:]], kinds=(NEURONS,)
    )
