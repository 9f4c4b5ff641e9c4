"""The time of all trials on the models that ship, with an empty and a filled cache, serially and on two workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import BenchmarkResult, TableCell
from benchmarks.timing import Samples

TITLE = "All trials on the models that ship"
COLUMNS = ("what", "seconds", "forward passes", "× faster than cold", "target")
REPORT = "generalization_eval_report.json"
WORKERS = {"serial": (), "two workers": ("-n", "2")}
TARGET = 3.0
"""How many times faster a second run should be."""


@dataclass(frozen=True)
class TrialsRun:
    """One run of the trials."""

    seconds: float
    passes: int


def run(repeats: int) -> BenchmarkResult:
    """Measure a cold and a warm run, each pair with a new cache."""
    runs: dict[tuple[str, str], list[TrialsRun]] = {}
    for _ in range(repeats):
        for workers, options in WORKERS.items():
            with tempfile.TemporaryDirectory() as folder:
                for state in ("cold", "warm"):
                    runs.setdefault((workers, state), []).append(run_trials(Path(folder), state, *options))
    seconds = {key: Samples(tuple(run.seconds for run in of_key)) for key, of_key in runs.items()}
    rows: list[tuple[TableCell, ...]] = []
    for (workers, state), of_row in seconds.items():
        passes = max(run.passes for run in runs[workers, state])
        faster = (seconds[workers, "cold"].ratio_to(of_row), TARGET) if state == "warm" else (None, None)
        rows.append((f"{workers}, {state}", of_row, passes, *faster))
    note = "`pytest evals/` with an empty cache folder (cold), then again with the same folder (warm)."
    return BenchmarkResult("evals", TITLE, COLUMNS, tuple(rows), note)


def run_trials(folder: Path, state: str, *options: str) -> TrialsRun:
    """Run all trials in a process of its own, with the cache in ``folder``. Raises RuntimeError without a report."""
    out = folder / state
    command = [
        *(sys.executable, "-m", "pytest", "evals/", "-q", "--unineuron-fail-on=never"),
        f"--unineuron-out={out}",
        f"--unineuron-cache={folder / 'cache'}",
        *("-o", f"cache_dir={folder / 'pytest'}", *options),
    ]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    report = out / REPORT
    if not report.is_file():
        raise RuntimeError(f"{' '.join(command)} wrote no report:\n{(done.stdout + done.stderr)[-2000:]}")
    return TrialsRun(seconds, json.loads(report.read_text(encoding="utf-8"))["forward_passes"])
