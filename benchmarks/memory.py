"""The most memory that a sweep and a correlation take above the loaded model, against what they must hold."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.answer import Answer, Cell
from benchmarks.timing import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.work import Shape

TITLE = "Memory above the loaded model"
COLUMNS = (
    "what",
    "model, MB",
    "above it, MB",
    "formula, MB",
    "measured / formula",
    "budget, MB",
    "blocks",
    "all / (1.2 × model + budget)",
)
SWEEP, PAIR = "a sweep of all that a run gathers", "all sums of a pair"
MB = 1e6
WIDE = 8
"""Bytes of a number that is carried from batch to batch."""
ROOM = 8e9
FEWER = 4
"""How many times fewer rows a batch has where the budget is tight: beside a large one there is little to divide."""


@dataclass(frozen=True)
class Peak:
    """Bytes that were resident once the models were loaded, and the most above that while they worked.

    ``budget`` is what a trial was given, and ``blocks`` in how many it was done.
    """

    loaded: float
    above: float
    budget: float = 0
    blocks: int = 0


def answer(shape: Shape, batches: int, turns: int) -> Answer:
    """Measure it, each time in a process of its own."""
    narrow = replace(shape, rows=max(1, shape.rows // FEWER))
    runs: dict[str, Callable[[], Peak]] = {
        "the pass alone": lambda: measure(shape, batches, "forward"),
        SWEEP: lambda: measure(shape, batches, "sweep"),
        PAIR: lambda: measure(shape, batches, "pair"),
        "a trial, with room for the whole product": lambda: measure(shape, batches, "trial", ROOM),
        f"a trial in as little as it takes, batches of {narrow.tokens}": lambda: measure(
            narrow, FEWER * batches, "trial"
        ),
    }
    found = {name: [run() for _ in range(turns)] for name, run in runs.items()}
    passing = Spread(tuple(peak.above for peak in found["the pass alone"])).median
    formulas = {SWEEP: passing + of_sweep(shape), PAIR: passing + of_pair(shape)}
    note = (
        f"{shape}, {batches} batches of them, each in a process of its own. Formula, beyond the measured pass: a "
        f"sweep holds its sums ({WIDE} bytes each) and three copies of a layer's activations; a pair 4·N₁·N₂ bytes "
        "of products, 4·ΣM² within the layers of the second model, and the neurons of both on one batch. The last "
        "column is at most 1 where the budget is kept to."
    )
    return Answer(
        "memory", TITLE, COLUMNS, tuple(row(name, of, formulas.get(name)) for name, of in found.items()), note
    )


def row(name: str, peaks: Sequence[Peak], formula: float | None) -> tuple[Cell, ...]:
    """What was measured, against a formula in bytes and against the budget, if there are any."""
    above = Spread(tuple(peak.above for peak in peaks))
    room = Spread(tuple((peak.loaded + peak.above) / (1.2 * peak.loaded + peak.budget) for peak in peaks))
    return (
        name,
        Spread(tuple(peak.loaded for peak in peaks)).median / MB,
        above.times(1 / MB),
        formula and formula / MB,
        formula and above.times(1 / formula),
        peaks[0].budget / MB or None,
        peaks[0].blocks or None,
        room if peaks[0].budget else None,
    )


def of_sweep(shape: Shape) -> float:
    """Bytes of the sums, of those of one more batch while they are joined, and of a layer's working copies."""
    moments, extremes = 4 * WIDE, 10 * (WIDE + 4)
    of_neuron = 2 * moments + WIDE + extremes + 10 * WIDE  # both sites, density, labels
    return shape.all_units * of_neuron + shape.units * of_neuron + 3 * 4.0 * shape.tokens * shape.units


def of_pair(shape: Shape) -> float:
    """Bytes of the products of all neurons, of those within layers, and of the neurons of both models on a batch."""
    return 4.0 * shape.all_units**2 + 4.0 * shape.layers * shape.units**2 + 2 * 4.0 * shape.tokens * shape.all_units


def measure(shape: Shape, batches: int, what: str, memory: float = 0) -> Peak:
    """One of them in a process of its own; 0 is as little memory as it takes. Raises RuntimeError if it ends badly."""
    asked = json.dumps({"shape": asdict(shape), "batches": batches, "what": what, "memory": memory})
    done = subprocess.run([sys.executable, "-m", "benchmarks.peak", asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"memory of {what}: {done.stderr[-2000:]}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))
