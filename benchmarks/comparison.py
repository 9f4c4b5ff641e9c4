"""The same work by other libraries and by the paper's procedure, each in a process and an environment of its own."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import work
from benchmarks.answer import Answer, Cell
from benchmarks.peers import environment
from benchmarks.peers.serve import CORRELATION, SWEEP
from benchmarks.peers.worker import Worker
from benchmarks.timing import Spread, interleaved
from pytest_unineuron.statistics.extremes import N_LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COLUMNS = ("who", "how", "seconds", "× the bound", "times ours", "farthest from ours")
TITLES = {
    SWEEP: "The same statistics by others: four moments before and after, density, the largest values",
    CORRELATION: "The same correlations by others",
}
MODULES = {"hooked": "hooked", "bridge": "bridge", "nnsight": "traced"}
"""The program of each environment."""
OFTENER = 3
"""How many times as many turns sweeps have as correlations, which take ten times as long."""
OURS, BOUND = 1, 0
"""Which task of ours is which, of each kind; after them, the one that takes every random basis."""
BASES = "random basis"
"""In the names of tasks that compare with a random basis too."""


@dataclass(frozen=True)
class ComparisonCost:
    """Something that a worker can do."""

    worker: Worker
    kind: str
    name: str

    @property
    def found(self) -> list[float]:
        """Some of the numbers that came out."""
        return self.worker.found.get((self.kind, self.name), [])


def answers(shape: work.Shape, batches: int, turns: int, threads: int, envs: Path, others: bool) -> list[Answer]:
    """Measure it; without ``others``, the paper's procedure alone, which needs no further environment."""
    workers: list[Worker] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        _prepare(shape, batches, Path(folder))
        given = {"folder": folder, "threads": threads, "largest": N_LARGEST}
        try:
            for module, name in [("ours", ""), ("paper", ""), *((m, n) for n, m in MODULES.items() if others)]:
                try:
                    python = environment.python(name, envs) if name else Path(sys.executable)
                    workers.append(Worker(python, f"benchmarks.peers.{module}", given))
                except RuntimeError as error:
                    missing.append(f"{name or module}: {error}")
            return [_answer(kind, workers, turns, missing, shape, batches) for kind in (SWEEP, CORRELATION)]
        finally:
            for worker in workers:
                worker.stop()


def _prepare(shape: work.Shape, batches: int, folder: Path) -> None:
    """Two models and the ids, where every worker finds them."""
    for seed in range(2):
        work.model(shape, seed).save_pretrained(folder / str(seed))
    torch.save(work.ids(shape, batches), folder / "ids.pt")


def _answer(
    kind: str, workers: Sequence[Worker], turns: int, missing: Iterable[str], shape: work.Shape, batches: int
) -> Answer:
    tasks = [ComparisonCost(worker, kind, name) for worker in workers for of, name in worker.tasks if of == kind]
    variants = {str(number): partial(task.worker.do, kind, task.name) for number, task in enumerate(tasks)}
    sweeps = kind == SWEEP  # short, and first: they warm up every process
    found = [*interleaved(variants, OFTENER * turns if sweeps else turns, variants.values() if sweeps else ()).values()]
    note = (
        f"{shape}, {batches} batches of them. Every process has the same settings of threads and memory. No head "
        "is run. The last column is the largest relative deviation of what came out."
    )
    left_out = "".join(f" Not measured: {reason}." for reason in missing)
    return Answer(f"peers_{kind}", TITLES[kind], COLUMNS, tuple(rows(tasks, found)), note + left_out)


def rows(tasks: Sequence[ComparisonCost], found: Sequence[Spread]) -> Iterator[tuple[Cell, ...]]:
    """One for each task; the first are what cannot be done without, and ours, which others' same work is divided by."""
    for number, (task, seconds) in enumerate(zip(tasks, found, strict=True)):
        others = task.worker.name != tasks[OURS].worker.name
        against = seconds.over(found[OURS + (BASES in task.name)]) if others else None
        yield (
            task.worker.name,
            task.name,
            seconds,
            seconds.over(found[BOUND]),
            against,
            deviation(task.found, tasks[OURS].found) if number > OURS else None,
        )


def deviation(found: Sequence[float], expected: Sequence[float]) -> float | None:
    """The largest relative difference of numbers that belong together; None where they do not."""
    if not found or len(found) != len(expected):
        return None
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(found, expected, strict=True))
