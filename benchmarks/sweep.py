"""The cost of the statistics of one forward pass, compared with the forward pass alone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from benchmarks import workload as work
from benchmarks.machine import processor
from benchmarks.result import BenchmarkResult
from benchmarks.timing import interleave, timed
from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.activations.sweep import StatisticsConsumer, SweepResult, sweep
from pytest_unineuron.statistics import DEFAULT_SITES, EXTREMES, POST, PRE, statistics_for
from pytest_unineuron.statistics.extremes import N_LARGEST
from pytest_unineuron.statistics.gemm import fast_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from benchmarks.result import TableCell
    from benchmarks.timing import Samples
    from benchmarks.workload import Workload
    from pytest_unineuron.corpora.blocks import Blocks
    from pytest_unineuron.universality.units import ComparedModel

    Statistics = Mapping[str, Collection[str]]
    """Names of statistics by site."""

TITLE = "Statistics of one forward pass, compared with the forward pass alone"
FORWARD = "forward pass, same products"
TORCH_FORWARD = "forward pass, torch's own products"
FOUR = "four moments before and after the activation function, and density"
LARGEST = f"the same and the {N_LARGEST} largest activations"
BFLOAT16 = ", bfloat16"
TARGETS = {FOUR: 1.15, LARGEST: 1.25}

MOMENTS: Statistics = {PRE: ("moments", "firing"), POST: ("moments",)}
"""Four moments before and after the activation function, and the share of tokens at which a neuron is active."""
MOMENTS_AND_LARGEST: Statistics = {PRE: ("moments", "firing"), POST: ("moments", "extremes")}
ALL: Statistics = statistics_for({*DEFAULT_SITES, EXTREMES})
"""All statistics of the trials: means by label and those of the residual stream as well."""


def run(workload: Workload, batches: int, repeats: int) -> BenchmarkResult:
    """Measure the statistics of ``batches`` batches."""
    ids = work.random_ids(workload, batches)
    variants: dict[str, Callable[[], float]] = {}
    warm_up = []
    for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, BFLOAT16)):
        model = work.compared_model(work.random_model(workload, 0, dtype), workload)
        short = _variants(model, work.as_corpus(ids[:1]), workload)
        for name, variant in _variants(model, work.as_corpus(ids), workload).items():
            if not suffix or name in (FORWARD, LARGEST):
                variants[name + suffix] = variant
                warm_up.append(short[name])
    with torch.inference_mode():
        seconds = interleave(variants, repeats, warm_up)
    columns = (
        "what",
        "seconds",
        "× forward pass, same products",
        "ratio of minima",
        "target",
        f"× forward pass, torch's own products on {processor(workload.device)}",
        "tokens per second",
    )
    tokens = batches * workload.batch_tokens
    note = (
        f"{workload}, {batches} batches. Forward passes run without the head; passes of the plugin end at the last "
        "activation that is needed. Only float32 products depend on the library."
    )
    return BenchmarkResult("sweep", TITLE, columns, tuple(_row(name, seconds, tokens) for name in seconds), note)


def _row(name: str, seconds: dict[str, Samples], tokens: int) -> tuple[TableCell, ...]:
    suffix = BFLOAT16 if name.endswith(BFLOAT16) else ""
    forward, of_row = seconds[FORWARD + suffix], seconds[name]
    return (
        name,
        of_row,
        of_row.ratio_to(forward),
        of_row.ratio_of_minima(forward),
        TARGETS.get(name),
        None if suffix else of_row.ratio_to(seconds[TORCH_FORWARD]),
        tokens / of_row.median,
    )


def _variants(model: ComparedModel, blocks: Blocks, workload: Workload) -> dict[str, Callable[[], float]]:
    layout = model.anatomy.layout
    batches = blocks.batches(workload.batch_tokens)

    @timed
    def forward(*, fast: bool) -> None:
        with fast_linear(model.model) if fast else nullcontext():
            for batch in batches:
                work.forward(model.model, batch)

    @timed
    def capture() -> None:
        with capture_activations(model.model, layout, lambda *_: None) as open_capture:
            for batch in batches:
                open_capture.forward(batch.ids, batch.attention_mask)

    def statistics(names: Statistics) -> Callable[[], float]:
        return timed(lambda: sweep_once(model, blocks, workload, names))

    return {
        FORWARD: lambda: forward(fast=True),
        TORCH_FORWARD: lambda: forward(fast=False),
        "forward pass with hooks that do nothing": capture,
        FOUR: statistics(MOMENTS),
        LARGEST: statistics(MOMENTS_AND_LARGEST),
        "all statistics (means by label and the residual stream too)": statistics(ALL),
    }


def sweep_once(model: ComparedModel, blocks: Blocks, workload: Workload, statistics: Statistics = ALL) -> SweepResult:
    """The statistics of one sweep of a model over a corpus."""
    consumer = StatisticsConsumer(blocks, model.model.device, statistics=statistics)
    batches = blocks.batches(workload.batch_tokens)
    return sweep(model.model, model.anatomy.layout, batches, [consumer])[0]
