"""Products of float32 matrices on a CPU by torch's own choice of library, and by the plugin's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from benchmarks.machine import processor
from benchmarks.result import BenchmarkResult
from benchmarks.timing import interleave, timed
from pytest_unineuron.statistics import gemm

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Workload

TITLE = "Products of float32 matrices by torch's own choice of library and by the plugin's"
SHORT_TEXT = 64
"""Tokens of a short text."""
OPERATIONS, MAX_COUNT = 2e10, 1000
"""Operations that are timed together, because small products are repeated, and how often at most."""


@dataclass(frozen=True)
class Multiplication:
    """A product of two matrices, computed in two ways."""

    name: str
    operations: int
    by_torch: Callable[[], object]
    by_plugin: Callable[[], object]


def run(workload: Workload, repeats: int) -> BenchmarkResult:
    """Measure the products that the plugin computes most."""
    rows = []
    for multiplication in (_comoments(workload), *(_layer(workload, n) for n in (workload.batch_tokens, SHORT_TEXT))):
        count = min(max(1, int(OPERATIONS / multiplication.operations)), MAX_COUNT)
        variants = {
            "torch": _repeated(multiplication.by_torch, count),
            "plugin": _repeated(multiplication.by_plugin, count),
        }
        with torch.inference_mode():
            seconds = interleave(variants, repeats, variants.values())
        torch_ms, plugin_ms = (seconds[who].scaled(1000 / count) for who in ("torch", "plugin"))
        rate = multiplication.operations / plugin_ms.median / 1e6
        rows.append((multiplication.name, torch_ms, plugin_ms, torch_ms.ratio_to(plugin_ms), rate))
    library = gemm.product_library()
    columns = (
        "what",
        f"ms, torch's own choice on {processor()}",
        f"ms, the plugin's ({library})",
        "× faster",
        f"GFLOP/s, {library}",
    )
    return BenchmarkResult("products", TITLE, columns, tuple(rows), f"{workload}.")


def _comoments(workload: Workload) -> Multiplication:
    """The products of all neurons of two models on one batch."""
    units, tokens = workload.model_neurons, workload.batch_tokens
    x, y = (torch.rand(units, tokens).T for _ in range(2))
    sums = torch.zeros(units, units)
    return Multiplication(
        f"co-moments of {units} × {units} neurons over {tokens} tokens",
        2 * units**2 * tokens,
        lambda: sums.addmm_(x.T, y),
        lambda: gemm.add_product(sums, x, y),
    )


def _layer(workload: Workload, tokens: int) -> Multiplication:
    """The input projection of one layer."""
    x, weight = torch.rand(tokens, workload.width), torch.rand(workload.layer_neurons, workload.width)
    return Multiplication(
        f"a layer of {workload.layer_neurons} neurons that reads {workload.width} features of {tokens} tokens",
        2 * workload.layer_neurons * workload.width * tokens,
        lambda: functional.linear(x, weight),
        lambda: gemm.product(x, weight),
    )


def _repeated(function: Callable[[], object], count: int) -> Callable[[], float]:
    @timed
    def run_all() -> None:
        for _ in range(count):
            function()

    return run_all
