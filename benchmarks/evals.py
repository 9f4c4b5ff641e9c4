"""The whole embedded run, cold and warm, serial and on two workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answer import Answer, Cell
from benchmarks.timing import Spread

TITLE = "The embedded run: every trial on the models that ship"
COLUMNS = ("what", "seconds", "forward passes", "× faster than cold", "target")
REPORT = "generalization_eval_report.json"
WORKERS = {"serial": (), "two workers": ("-n", "2")}
TARGET = 3.0
"""How many times faster a second run is to be."""


@dataclass(frozen=True)
class Run:
    """One run of the trials."""

    seconds: float
    passes: int


def answer(turns: int) -> Answer:
    """Measure it: each turn begins with an empty cache."""
    found: dict[tuple[str, str], list[Run]] = {}
    for _ in range(turns):
        for workers, more in WORKERS.items():
            with tempfile.TemporaryDirectory() as folder:
                for state in ("cold", "warm"):
                    found.setdefault((workers, state), []).append(run(Path(folder), state, *more))
    rows: list[tuple[Cell, ...]] = []
    for (workers, state), runs in found.items():
        seconds = Spread(tuple(of.seconds for of in runs))
        cold = Spread(tuple(of.seconds for of in found[workers, "cold"]))
        warm = state == "warm"
        rows.append(
            (
                f"{workers}, {state}",
                seconds,
                max(of.passes for of in runs),
                cold.over(seconds) if warm else None,
                TARGET if warm else None,
            )
        )
    note = "`pytest evals/` with a cache folder that is empty at first, then again with what it left there."
    return Answer("evals", TITLE, COLUMNS, tuple(rows), note)


def run(folder: Path, name: str, *more: str) -> Run:
    """One run in a process of its own. Raises RuntimeError if it wrote no report."""
    out = folder / name
    command = [
        sys.executable,
        "-m",
        "pytest",
        "evals/",
        "-q",
        "--unineuron-fail-on=never",
        f"--unineuron-out={out}",
        f"--unineuron-cache={folder / 'cache'}",
        "-o",
        f"cache_dir={folder / 'pytest'}",
        *more,
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    report = out / REPORT
    if not report.is_file():
        raise RuntimeError(f"{' '.join(command)} wrote no report:\n{(done.stdout + done.stderr)[-2000:]}")
    return Run(seconds, json.loads(report.read_text(encoding="utf-8"))["forward_passes"])
