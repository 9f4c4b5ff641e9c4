"""The time that the installed plugin adds to the start of pytest."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

from benchmarks.result import BenchmarkResult
from benchmarks.timing import Samples, interleave

TITLE = "Start of pytest with and without the plugin"
COLUMNS = ("what", "ms", "target")
ARGUMENTS = ("--collect-only", "-q", "-p", "no:cacheprovider")
COMMAND = (sys.executable, "-m", "pytest", *ARGUMENTS)
WITHOUT_PLUGIN = ("-p", "no:unineuron")
HEAVY_MODULES = ("torch", "transformers", "numpy", "scipy", "pandas")
PRINT_HEAVY_MODULES = f"""
import sys, pytest
pytest.main({list(ARGUMENTS)})
print("HEAVY", *(name for name in {HEAVY_MODULES} if name in sys.modules))
"""
TARGET = 20
"""Milliseconds that the plugin may add."""


def run(repeats: int) -> BenchmarkResult:
    """Measure pairs of starts in an empty folder."""
    processor_seconds: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory() as folder:

        def start(name: str, *more: str) -> float:
            processor_before, before = _processor_seconds(), time.perf_counter()
            subprocess.run([*COMMAND, *more], cwd=folder, capture_output=True, check=False, env=_environment())
            seconds = time.perf_counter() - before
            processor_seconds[name].append(_processor_seconds() - processor_before)
            return seconds

        variants = {"with": partial(start, "with"), "without": partial(start, "without", *WITHOUT_PLUGIN)}
        seconds = interleave(variants, repeats, warm_up=variants.values())
        heavy = imported_heavy_modules(folder)
    plugin, without = (seconds[name].scaled(1000) for name in ("with", "without"))
    # The first value of each is that of the warm-up.
    used, used_without = (Samples(tuple(processor_seconds[name][1:])).scaled(1000) for name in ("with", "without"))
    rows = (
        ("without the plugin", without, None),
        ("with the plugin", plugin, None),
        ("difference", plugin.minus(without), TARGET),
        ("difference of the minima", min(plugin.values) - min(without.values), TARGET),
        ("difference in processor time", used.minus(used_without), TARGET),
        (f"imported of {', '.join(HEAVY_MODULES)}", ", ".join(heavy) or "none", "none"),
    )
    note = f"`pytest {' '.join(ARGUMENTS[:2])}` in an empty folder, {repeats} pairs; differences are within a pair."
    return BenchmarkResult("startup", TITLE, COLUMNS, rows, note)


def imported_heavy_modules(folder: str) -> list[str]:
    """The heavy modules that a run without tests imports."""
    command = [sys.executable, "-c", PRINT_HEAVY_MODULES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=_environment())
    return next(line.split()[1:] for line in done.stdout.splitlines() if line.startswith("HEAVY"))


def _environment() -> dict[str, str]:
    """The environment of this process without settings of the plugin or of pytest."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("UNINEURON_", "PYTEST_"))}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
