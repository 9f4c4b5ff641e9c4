"""The same work by other libraries and by the paper's procedure, each in a process and an environment of its own."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import workload as work
from benchmarks.machine import processor
from benchmarks.peers import environment, plugin
from benchmarks.peers.peer_process import PeerProcess
from benchmarks.peers.serve import CORRELATION, SWEEP
from benchmarks.result import BenchmarkResult, TableCell
from benchmarks.timing import Samples, interleave
from pytest_unineuron.statistics.extremes import N_LARGEST
from pytest_unineuron.statistics.gemm import product_library

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.workload import Workload

TITLES = {
    SWEEP: "The same statistics by other libraries: four moments before and after the activation function, density, "
    "the largest values",
    CORRELATION: "The same correlations by other libraries",
}
MODULES = {"hooked": "hooked", "bridge": "bridge", "nnsight": "traced"}
"""The module in ``benchmarks.peers`` that runs in each environment."""
SWEEP_REPEATS = 3
"""How many times as often sweeps are measured as correlations, which take ten times as long."""
RANDOM_BASIS = "random basis"
"""Part of the name of all tasks that compare with a random basis too."""


@dataclass(frozen=True)
class PeerTask:
    """A task of one kind that a process does."""

    process: PeerProcess
    kind: str
    name: str

    @property
    def is_plugin(self) -> bool:
        """Whether the plugin does it, or it is a lower bound."""
        return self.process.name == plugin.NAME

    @property
    def numbers(self) -> list[float]:
        """Some of the numbers that it computed last."""
        return self.process.numbers.get((self.kind, self.name), [])


def run(workload: Workload, batches: int, repeats: int, threads: int, envs: Path | None) -> list[BenchmarkResult]:
    """Measure sweeps and correlations; other libraries in environments in ``envs``, or none of them for None.

    The paper's procedure needs no environment. A library that cannot be installed is named below the table.
    """
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        _save_inputs(workload, batches, Path(folder))
        request = {"folder": folder, "threads": threads, "n_largest": N_LARGEST}

        def start(python: Path, module: str) -> PeerProcess:
            return stack.enter_context(PeerProcess(python, f"benchmarks.peers.{module}", request))

        processes = [start(Path(sys.executable), module) for module in ("plugin", "paper")]
        if envs is not None:
            for name, module in MODULES.items():
                try:
                    processes.append(start(environment.python(name, envs), module))
                except RuntimeError as error:
                    missing.append(f" Not measured: {name}: {error}.")
        note = (
            f"{workload}, {batches} batches. All processes have the same settings of threads and memory; no head runs. "
            "Other libraries use torch's own products. The last column compares their numbers with the plugin's."
        )
        return [_result(kind, processes, repeats, note + "".join(missing)) for kind in (SWEEP, CORRELATION)]


def _save_inputs(workload: Workload, batches: int, folder: Path) -> None:
    """Save two models and the token ids for all processes."""
    for seed in range(2):
        work.random_model(workload, seed).save_pretrained(folder / str(seed))
    torch.save(work.random_ids(workload, batches), folder / "ids.pt")


def _result(kind: str, processes: Sequence[PeerProcess], repeats: int, note: str) -> BenchmarkResult:
    tasks = [PeerTask(process, kind, name) for process in processes for of, name in process.tasks if of == kind]
    variants = {str(number): partial(task.process.run, kind, task.name) for number, task in enumerate(tasks)}
    if kind == SWEEP:  # short, and first, so these also warm up all processes
        seconds = interleave(variants, SWEEP_REPEATS * repeats, variants.values())
    else:
        seconds = interleave(variants, repeats)
    columns = (
        "library",
        "method",
        "seconds",
        "× lower bound, same products",
        f"× lower bound, torch's own products on {processor()}",
        f"× plugin, which uses {product_library()}",
        "largest relative difference",
    )
    return BenchmarkResult(f"peers_{kind}", TITLES[kind], columns, tuple(rows(tasks, [*seconds.values()])), note)


def rows(tasks: Sequence[PeerTask], seconds: Sequence[Samples]) -> Iterator[tuple[TableCell, ...]]:
    """One row per task, compared with two lower bounds and with the plugin.

    The first lower bound multiplies as the task does, the second as torch does by itself; other libraries do so too.
    """
    of_plugin = {task.name: of_task for task, of_task in zip(tasks, seconds, strict=True) if task.is_plugin}
    names = plugin.NAMES[tasks[0].kind]
    expected = next(task.numbers for task in tasks if task.is_plugin and task.name == names.work)
    for task, of_task in zip(tasks, seconds, strict=True):
        as_torch = not task.is_plugin or task.name == names.torch_bound
        same_work = names.work_in_bases if RANDOM_BASIS in task.name else names.work
        yield (
            task.process.name,
            task.name,
            of_task,
            of_task.ratio_to(of_plugin[names.torch_bound if as_torch else names.bound]),
            of_task.ratio_to(of_plugin[names.torch_bound]),
            None if task.is_plugin else of_task.ratio_to(of_plugin[same_work]),
            None if task.numbers is expected else largest_difference(task.numbers, expected),
        )


def largest_difference(numbers: Sequence[float], expected: Sequence[float]) -> float | None:
    """The largest relative difference of two lists of numbers; None if they are not the same numbers."""
    if not numbers or len(numbers) != len(expected):
        return None
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(numbers, expected, strict=True))
