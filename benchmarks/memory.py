"""The peak memory of a sweep and of a comparison above the loaded models, compared with a formula and a budget."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.result import BenchmarkResult, TableCell
from benchmarks.timing import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.workload import Workload

TITLE = "Peak memory above the loaded models"
COLUMNS = (
    "what",
    "models, MB",
    "peak above, MB",
    "formula, MB",
    "peak / formula",
    "budget, MB",
    "blocks",
    "(models + peak) / (1.2 × models + budget)",
)
FORWARD, SWEEP, SUMS = "forward pass alone", "sweep of all statistics", "all sums of products of two models"
MB = 1e6
SUM_BYTES = 8
"""Bytes of a number that is accumulated over batches."""
AMPLE = 8e9
"""A budget in bytes in which all products fit at once."""
BATCH_DIVISOR = 4
"""How many times fewer rows a batch has in the least budget, which a large batch would fill by itself."""


@dataclass(frozen=True)
class PeakMemory:
    """Memory of one process in bytes: ``loaded`` with the models, and at most ``above`` more while it worked.

    ``budget`` is what a comparison was given, and ``blocks`` the number of blocks of its products.
    """

    loaded: float
    above: float
    budget: float = 0
    blocks: int = 0


def run(workload: Workload, batches: int, repeats: int) -> BenchmarkResult:
    """Measure each task in processes of its own."""
    small = replace(workload, rows=max(1, workload.rows // BATCH_DIVISOR))
    tasks: dict[str, Callable[[], PeakMemory]] = {
        FORWARD: lambda: measure_peak(workload, batches, "forward"),
        SWEEP: lambda: measure_peak(workload, batches, "sweep"),
        SUMS: lambda: measure_peak(workload, batches, "sums"),
        "comparison with memory for all products": lambda: measure_peak(workload, batches, "comparison", AMPLE),
        f"comparison in the least memory, batches of {small.batch_tokens} tokens": lambda: measure_peak(
            small, BATCH_DIVISOR * batches, "comparison"
        ),
    }
    peaks = {name: [task() for _ in range(repeats)] for name, task in tasks.items()}
    forward = Samples(tuple(peak.above for peak in peaks[FORWARD])).median
    formulas = {SWEEP: forward + sweep_bytes(workload), SUMS: forward + sums_bytes(workload)}
    note = (
        f"{workload}, {batches} batches, each task in a process of its own. The formula adds to the measured forward "
        f"pass: for a sweep its sums ({SUM_BYTES} bytes each) and three copies of the activations of one layer; for "
        "two models 4·N₁·N₂ bytes of products, 4·ΣM² within the layers of the second, and the neurons of both on one "
        "batch. The last column is at most 1 if the budget was respected."
    )
    rows = tuple(row(name, of_task, formulas.get(name)) for name, of_task in peaks.items())
    return BenchmarkResult("memory", TITLE, COLUMNS, rows, note)


def row(name: str, peaks: Sequence[PeakMemory], formula: float | None) -> tuple[TableCell, ...]:
    """A row of the table. ``formula`` is in bytes; without one, or without a budget, these cells are empty."""
    above = Samples(tuple(peak.above for peak in peaks))
    used = Samples(tuple((peak.loaded + peak.above) / (1.2 * peak.loaded + peak.budget) for peak in peaks))
    return (
        name,
        Samples(tuple(peak.loaded for peak in peaks)).median / MB,
        above.scaled(1 / MB),
        formula and formula / MB,
        formula and above.scaled(1 / formula),
        peaks[0].budget / MB or None,
        peaks[0].blocks or None,
        used if peaks[0].budget else None,
    )


def sweep_bytes(workload: Workload) -> float:
    """Bytes of the sums of all neurons, of those of one layer while a batch is added, and of a layer's activations."""
    moments, extremes, labels = 4 * SUM_BYTES, 10 * (SUM_BYTES + 4), 10 * SUM_BYTES
    per_neuron = 2 * moments + SUM_BYTES + extremes + labels  # moments at two sites, density
    layer = workload.layer_neurons
    return (workload.model_neurons + layer) * per_neuron + 3 * 4.0 * workload.batch_tokens * layer


def sums_bytes(workload: Workload) -> float:
    """Bytes of all products, of those within layers, and of the neurons of both models on one batch."""
    neurons = workload.model_neurons
    within = workload.layers * workload.layer_neurons**2
    return 4.0 * neurons**2 + 4.0 * within + 2 * 4.0 * workload.batch_tokens * neurons


def measure_peak(workload: Workload, batches: int, task: str, budget: float = 0) -> PeakMemory:
    """The peak memory of a task in a process of its own; ``budget`` 0 is the least that a comparison takes.

    Raises RuntimeError if the process fails.
    """
    request = json.dumps({"workload": asdict(workload), "batches": batches, "task": task, "budget": budget})
    command = [sys.executable, "-m", "benchmarks.peak_memory", request]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that measures the memory of {task} failed: {done.stderr[-2000:]}")
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))
