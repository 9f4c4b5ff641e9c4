"""Runs all trials on some models, in a process of its own, and reads the outcomes from its report."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.calibration.models import N_PLANTED, PLANTED, PLANTED_APART, REAL
from pytest_unineuron.cache.source_code import package_digest
from pytest_unineuron.evidence.saved import read_report
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.models.loading.source import sources_by_label
from pytest_unineuron.reports.write import REPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.calibration.models import Specimen

ROOT = Path(__file__).parent.parent.parent
OPTIONS = ("--unineuron-corpus=news", "--unineuron-fail-on=never", "--unineuron-threads=1")
"""One corpus of new data beside the reference, which is the default."""
FEW_TOKENS = ("--unineuron-tokens=20000",)
"""For nulls, which are many, and for the real model, which is large: enough for what the trials need."""
SOURCES = (
    *("evals/**/*.py", "tests/evals/planted.py"),
    *(f"benchmarks/calibration/{name}.py" for name in ("models", "nulls", "suite")),
)


def suite_digest(trials: Sequence[str] = ()) -> str:
    """The digest of all that outcomes depend on: the trials, the package, and the models and options used here.

    ``trials`` are those that run, if not all do.
    """
    files = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))
    content = [package_digest(), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in files), *trials]
    return hashlib.sha256("".join(content).encode()).hexdigest()[:16]


def run(specimens: Sequence[Specimen], folder: Path, trials: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The results of some models, all of them nulls or none of them. Those that do not exist are made in ``folder``.

    With ``trials``, these alone are run. Raises RuntimeError if the run writes no report.
    """
    options = [*OPTIONS, *(FEW_TOKENS if specimens[0].is_null or specimens[0].kind == REAL else ())]
    names = {specimen: specimen.spec or str(_make(specimen, folder / specimen.name)) for specimen in specimens}
    command = [
        *("nice", sys.executable, "-m", "pytest", "evals/", "-q", "-p", "no:cacheprovider", *options),
        *(f"--unineuron-model={name}" for name in names.values()),
        *(f"--unineuron-out={folder / 'out'}", f"--unineuron-cache={folder / 'cache'}"),
        *_options_of_planted(specimens[0], folder),
        *(("-k", " or ".join(f"test_{trial}" for trial in trials)) if trials else ()),
    ]
    before = _processor_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    seconds = (_processor_seconds() - before) / len(names)
    if not (folder / "out" / REPORT).is_file():
        raise RuntimeError(f"{' '.join(command)} wrote no report:\n{(done.stdout + done.stderr)[-2000:]}")
    report = report_data(read_report(folder / "out" / REPORT))
    labels = sources_by_label(tuple(names.values()))
    return [
        {**record(specimen, report, label, trials), "seconds": round(seconds, 1)}
        for specimen, label in zip(names, labels, strict=True)
    ]


def record(specimen: Specimen, report: dict[str, Any], label: str, only: Sequence[str] = ()) -> dict[str, Any]:
    """The outcomes on one model, which the report knows by its label, as one line of the results.

    With ``only``, they are those of some trials alone.
    """
    trials = {
        trial["name"]: (trial["criterion"], trial["subjects"].get(label))
        for trial in report["trials"]
        if _is_planted(id_ := trial["name"].partition("[")[0], specimen) and (not only or id_ in only)
    }
    criteria = {} if specimen.trial or only else report["criteria"]
    return {
        "name": specimen.name,
        "kind": specimen.kind,
        "architecture": specimen.architecture,
        "criteria": {id_: _verdict(each["subjects"][label]) for id_, each in criteria.items()},
        "trials": {
            name: {"criterion": criterion, "outcome": on_model["outcome"], "reason": on_model["reason"]}
            for name, (criterion, on_model) in trials.items()
            if on_model is not None
        },
    }


def _processor_seconds() -> float:
    """The processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _verdict(of_model: Any) -> str:
    """The verdict of a criterion on one model, which may be stored with what it rests on."""
    return str(of_model["verdict"] if isinstance(of_model, dict) else of_model)


def _is_planted(trial: str, specimen: Specimen) -> bool:
    """Whether a model counts for a trial: a planted one does not if the effect is planted in other models."""
    if specimen.kind != PLANTED:
        return True
    return trial == specimen.trial if specimen.trial else trial not in PLANTED_APART


def _options_of_planted(specimen: Specimen, folder: Path) -> list[str]:
    """A planted model has two further seeds, unless it is made for one trial, which alone is run then."""
    if specimen.kind != PLANTED:
        return []
    if specimen.trial:
        return ["-k", f"test_{specimen.trial}"]  # without test_, it would match the model's name too
    from tests.evals import planted

    seeds = [specimen.seed + N_PLANTED * further for further in (1, 2)]
    return [f"--unineuron-seed={planted.save(folder / f'seed-{seed}', seed)}" for seed in seeds]


def _make(specimen: Specimen, folder: Path) -> Path:
    """Save a model that does not exist yet. Imports torch."""
    if specimen.is_null:
        from benchmarks.calibration import nulls

        return nulls.save(specimen, folder)
    from tests.evals import planted

    return Path(planted.save(folder, specimen.seed, **PLANTED_APART.get(specimen.trial, {})))
