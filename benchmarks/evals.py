"""The time of all trials on the models that ship, with an empty and a filled cache, serially and on two workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.result import BenchmarkResult, TableCell
from benchmarks.timing import Samples
from pytest_unineuron.evidence.journal import JOURNAL_FOLDER, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "All trials on the models that ship"
COLUMNS = ("what", "seconds", "forward passes", "× bare passes", "× faster than cold", "target")
REPORT = "generalization_eval_report.json"
WORKERS = {"serial": (), "two workers": ("-n", "2")}
TARGET = 3.0
"""How many times faster a second run should be."""


@dataclass(frozen=True)
class TrialsRun:
    """One run of the trials."""

    seconds: float
    passes: int
    tokens: int
    """Those of one pass of every model and control over every text that it read."""


def run(repeats: int) -> BenchmarkResult:
    """Measure a cold and a warm run, each pair with a new cache."""
    runs: dict[tuple[str, str], list[TrialsRun]] = {}
    for _ in range(repeats):
        for workers, options in WORKERS.items():
            with tempfile.TemporaryDirectory() as folder:
                for state in ("cold", "warm"):
                    runs.setdefault((workers, state), []).append(run_trials(Path(folder), state, *options))
    seconds = {key: Samples(tuple(run.seconds for run in of_key)) for key, of_key in runs.items()}
    rate = tokens_per_second()
    rows: list[tuple[TableCell, ...]] = []
    for (workers, state), of_row in seconds.items():
        passes, tokens = (max(getattr(run, name) for run in runs[workers, state]) for name in ("passes", "tokens"))
        bare = Samples((tokens / rate,) * repeats)
        faster = (seconds[workers, "cold"].ratio_to(of_row), TARGET) if state == "warm" else (None, None)
        rows.append((f"{workers}, {state}", of_row, passes, of_row.ratio_to(bare) if tokens else None, *faster))
    note = (
        "`pytest evals/` with an empty cache folder (cold), then again with the same folder (warm). Bare passes are "
        "what a run cannot do without: each model and control reads every text once, in one process. Without the "
        f"plugin, `nano:neox-a` read {rate:,.0f} tokens per second."
    )
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
    data = json.loads(report.read_text(encoding="utf-8"))
    (journal,) = (out / JOURNAL_FOLDER).iterdir()
    read = {tuple(map(event.get, ("model", "control", "draw", "corpus"))) for event in forward_passes(journal)}
    tokens = {name: max(facts["tokens"].values(), default=0) for name, facts in data["corpora"].items()}
    return TrialsRun(seconds, data["forward_passes"], sum(tokens.get(corpus, 0) for *_, corpus in read))


def forward_passes(journal: Path) -> Iterator[dict[str, Any]]:
    """The events of all forward passes of a run."""
    for event in read_journal(journal).events:
        yield from (each for each in event.get("envelope", {}).get("events", ()) if each["kind"] == "forward_pass")


def tokens_per_second(tokens: int = 44_000) -> float:
    """The rate at which a nano model reads text without the plugin, the better of two tries. Imports torch."""
    from pytest_unineuron.corpora.blocks import to_blocks
    from pytest_unineuron.corpora.find import find_corpus
    from pytest_unineuron.models.loading.forward import run_model
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source
    from pytest_unineuron.options.settings import CPU_POSITIONS

    loaded = load_model(parse_source("nano:neox-a"))
    blocks = to_blocks(find_corpus("prose"), loaded.tokenizer, context=loaded.context, budget=tokens)
    batches, tries = blocks.batches(CPU_POSITIONS), []
    for _ in range(2):
        start = time.perf_counter()
        for batch in batches:
            run_model(loaded.model, batch.ids, batch.attention_mask)
        tries.append(tokens / (time.perf_counter() - start))
    return max(tries)
