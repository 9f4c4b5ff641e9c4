"""What every pytest pays for having the plugin installed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

from benchmarks.answer import Answer
from benchmarks.timing import Spread, interleaved

TITLE = "Start of pytest, with and without the plugin"
COLUMNS = ("what", "ms", "target")
COMMAND = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")
WITHOUT = ("-p", "no:unineuron")
HEAVY = ("torch", "transformers", "numpy", "scipy", "pandas")
ASK = f"""
import sys, pytest
pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider"])
print("HEAVY", *(name for name in {HEAVY} if name in sys.modules))
"""


def answer(pairs: int) -> Answer:
    """Measure it, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        used: dict[str, list[float]] = {"with": [], "without": []}

        def start(name: str, *more: str) -> float:
            before, began = _processor(), time.perf_counter()
            subprocess.run([*COMMAND, *more], cwd=folder, capture_output=True, check=False, env=_environment())
            seconds = time.perf_counter() - began
            used[name].append(_processor() - before)
            return seconds

        variants = {"with": partial(start, "with"), "without": partial(start, "without", *WITHOUT)}
        wall = interleaved(variants, pairs, warm=variants.values())
        imported = heavy(folder)
    processor = {name: Spread(tuple(values[1:])) for name, values in used.items()}  # but for the one that warmed up
    rows = (
        ("without the plugin", wall["without"].times(1000), None),
        ("with it", wall["with"].times(1000), None),
        ("the difference", wall["with"].less(wall["without"]).times(1000), 20),
        ("the difference, at best of each", 1000 * (min(wall["with"].values) - min(wall["without"].values)), 20),
        ("the difference, processor time", processor["with"].less(processor["without"]).times(1000), 20),
        (f"of {', '.join(HEAVY)} imported", ", ".join(imported) or "none", "none"),
    )
    note = f"`pytest --collect-only -q` in an empty folder, {pairs} pairs in turns; differences within a pair."
    return Answer("startup", TITLE, COLUMNS, rows, note)


def heavy(folder: str) -> list[str]:
    """Which heavy modules a run without tests has imported."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=folder, capture_output=True, text=True, check=True, env=_environment()
    )
    return next(line.split()[1:] for line in done.stdout.splitlines() if line.startswith("HEAVY"))


def _environment() -> dict[str, str]:
    """Ours, without what a user may have told the plugin or pytest."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("UNINEURON_", "PYTEST_"))}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
