"""What the statistics of one pass cost, against the pass alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchmarks import work
from benchmarks.answer import Answer
from benchmarks.timing import interleaved, timed
from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.activations.sweep import SweepResult, sweep
from pytest_unineuron.statistics import DEFAULT_SITES, POST, PRE
from pytest_unineuron.statistics.extremes import N_LARGEST
from pytest_unineuron.statistics.gemm import fast_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_unineuron.corpora.blocks import Blocks
    from pytest_unineuron.universality.units import ComparedModel

TITLE = "Statistics of one pass, against the forward pass without its head"
COLUMNS = (
    "what",
    "seconds",
    "× the pass alone",
    "× at best",
    "target",
    "× a pass as fast",
    "tokens per second",
)
ALONE = "the pass alone"
FAST = "the pass alone, multiplied as ours are"
FOUR = "four moments before and after the activation function, and density"
LARGEST = f"the same, and the {N_LARGEST} largest"
IN_HALF = ", bfloat16"
TARGETS = {FOUR: 1.15, LARGEST: 1.25}

MOMENTS = {PRE: ("moments", "firing"), POST: ("moments",)}
"""Four moments before and after the activation function, and the share of tokens at which a neuron is on."""
EXTREMES = {PRE: ("moments", "firing"), POST: ("moments", "extremes")}


def answer(shape: work.Shape, batches: int, turns: int) -> Answer:
    """Measure it."""
    drawn = work.ids(shape, batches)
    variants: dict[str, Callable[[], float]] = {}
    warm = []
    for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, IN_HALF)):
        member = work.member(work.model(shape, 0, dtype), shape)
        small = _variants(member, work.text(drawn[:1]), shape)
        for name, variant in _variants(member, work.text(drawn), shape).items():
            if not suffix or name in (ALONE, LARGEST):
                variants[name + suffix] = variant
                warm.append(small[name])
    with torch.inference_mode():
        found = interleaved(variants, turns, warm)
    tokens = batches * shape.tokens
    alone = {name: found[ALONE + IN_HALF * name.endswith(IN_HALF)] for name in found}
    rows = tuple(
        (
            name,
            seconds,
            seconds.over(alone[name]),
            seconds.over_at_best(alone[name]),
            TARGETS.get(name),
            None if name.endswith(IN_HALF) else seconds.over(found[FAST]),
            tokens / seconds.median,
        )
        for name, seconds in found.items()
    )
    note = (
        f"{shape}, {batches} batches of them. A pass of ours ends at the last activation that is wanted, and "
        "multiplies float32 by the faster library (see products)."
    )
    return Answer("sweep", TITLE, COLUMNS, rows, note)


def _variants(member: ComparedModel, blocks: Blocks, shape: work.Shape) -> dict[str, Callable[[], float]]:
    model, layout = member.model, member.anatomy.layout
    batches = blocks.batches(shape.tokens)

    @timed
    def alone() -> None:
        for batch in batches:
            work.forward(model, batch)

    @timed
    def fast() -> None:
        with fast_linear(model):
            for batch in batches:
                work.forward(model, batch)

    @timed
    def watched() -> None:
        with capture_activations(model, layout, lambda *_: None) as capture:
            for batch in batches:
                capture.forward(batch.ids, batch.attention_mask)

    def gathering(statistics: Mapping[str, tuple[str, ...]] | None) -> Callable[[], float]:
        return timed(lambda: swept(member, blocks, shape, statistics))

    return {
        ALONE: alone,
        FAST: fast,
        "hooks that do nothing": watched,
        FOUR: gathering(MOMENTS),
        LARGEST: gathering(EXTREMES),
        "all that a run gathers (means by label and the residual stream too)": gathering(None),
    }


def swept(
    member: ComparedModel, blocks: Blocks, shape: work.Shape, statistics: Mapping[str, tuple[str, ...]] | None
) -> SweepResult:
    """What one sweep finds, of these statistics by site, or of all."""
    sites = DEFAULT_SITES if statistics is None else frozenset(statistics)
    return sweep(member.model, member.anatomy.layout, blocks, batch=shape.tokens, sites=sites, statistics=statistics)
