"""The growth of time with the number of tokens and of neurons, compared with the growth of the work."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks import correlation
from benchmarks import workload as work
from benchmarks.result import BenchmarkResult
from benchmarks.sweep import sweep_once
from benchmarks.timing import interleave, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.result import TableCell
    from benchmarks.timing import Samples
    from benchmarks.workload import Workload

TITLE = "Growth with tokens and with neurons"
COLUMNS = (
    "what",
    "factor",
    "seconds",
    "seconds per token or pair, relative to factor 1",
    "the same without forward passes",
)
TOKEN_FACTORS = (1, 4, 16)
NEURON_FACTORS = (1, 2, 4)
BATCHES = 2
"""Batches on which neurons are correlated."""


def run(workload: Workload, repeats: int) -> BenchmarkResult:
    """Measure sweeps of longer texts and correlations of wider models."""
    variants: dict[str, Callable[[], float]] = {}
    warm_up: list[Callable[[], float]] = []
    model = work.compared_model(work.random_model(workload, 0), workload)
    for factor in TOKEN_FACTORS:
        corpus = work.as_corpus(work.random_ids(workload, factor))
        variants[f"tokens {factor}"] = partial(timed(sweep_once), model, corpus, workload)
    warm_up.append(variants["tokens 1"])
    for factor in NEURON_FACTORS:
        narrower = replace(workload, neurons=workload.layer_neurons * factor // max(NEURON_FACTORS))
        models = work.random_models(narrower, 2)
        batches = work.as_corpus(work.random_ids(narrower, BATCHES)).batches(narrower.batch_tokens)
        variants[f"passes {factor}"] = partial(correlation.forward_passes, models, batches)
        variants[f"pairs {factor}"] = partial(correlation.sums_of_products, models, batches)
        warm_up.append(partial(correlation.sums_of_products, models, batches[:1]))
    with torch.inference_mode():
        seconds = interleave(variants, repeats, warm_up)
    note = (
        f"{workload}; for the correlations {BATCHES} batches, with fewer neurons per layer. 1 is linear growth, less "
        "is better. Forward passes are a smaller part of the time for more pairs, so the last column leaves them out."
    )
    return BenchmarkResult(
        "growth", TITLE, COLUMNS, (*_token_rows(workload, seconds), *_pair_rows(workload, seconds)), note
    )


def _token_rows(workload: Workload, seconds: Mapping[str, Samples]) -> list[tuple[TableCell, ...]]:
    rows: list[tuple[TableCell, ...]] = []
    for factor in TOKEN_FACTORS:
        of_row = seconds[f"tokens {factor}"]
        per_token = of_row.ratio_to(seconds["tokens 1"]).scaled(1 / factor)
        rows.append((f"sweep of {factor * workload.batch_tokens} tokens", factor, of_row, per_token, None))
    return rows


def _pair_rows(workload: Workload, seconds: Mapping[str, Samples]) -> list[tuple[TableCell, ...]]:
    rows: list[tuple[TableCell, ...]] = []
    without_passes = {f: seconds[f"pairs {f}"].minus(seconds[f"passes {f}"]) for f in NEURON_FACTORS}
    for factor in NEURON_FACTORS:
        of_row, neurons = seconds[f"pairs {factor}"], workload.model_neurons * factor // max(NEURON_FACTORS)
        per_pair = of_row.ratio_to(seconds["pairs 1"]).scaled(1 / factor**2)
        of_products = without_passes[factor].ratio_to(without_passes[1]).scaled(1 / factor**2)
        rows.append((f"all sums of {neurons} × {neurons} neurons", factor**2, of_row, per_pair, of_products))
    return rows
