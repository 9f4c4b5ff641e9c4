"""The tables of a calibration: how often each trial and criterion passes on nulls, and on models with an effect."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

from benchmarks import results_file
from benchmarks.calibration.models import NULLS, PLANTED, PLANTED_APART, REAL, ZOO
from benchmarks.result import BenchmarkResult, TableCell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MARKDOWN, JSON = "CALIBRATION.md", "calibration.json"
INTRODUCTION = """# Calibration: what passes on null models, and on models with an effect

Written by `python -m benchmarks.calibration`, which makes small null models, runs all trials on each and counts.
A null of a kind that keeps a part of a trained model is left out of the trials that are named after this part, which
claim something true of it; it counts for the criteria. How each null is made: `benchmarks/calibration/nulls.py`.
"""
JUDGED = ("PASS", "FAIL", "VACUOUS")
OUTCOMES = (*JUDGED, "NA", "ERROR")
COLUMNS = ("trial or criterion", "nulls", *OUTCOMES, "false PASS, %", "95 % from", "to", "what passed")
GROUPS = {PLANTED: "planted models", ZOO: "trained nano models", REAL: "SmolLM2-135M-Instruct"}
NULL_NOTE = (
    "A false PASS is counted among the models on which a trial came to an outcome (PASS, FAIL or VACUOUS), and for a "
    "criterion among all. Intervals are Clopper–Pearson. ERROR includes trials that did not run. Trials that are NA on "
    "all of these models, such as those that compare seeds, are left out."
)
POWER_NOTE = (
    "Models that pass, of those on which a trial came to an outcome or a criterion was asked; then the others. Planted "
    f"models have two further seeds. The effects of {', '.join(PLANTED_APART)} are planted in as many models of their "
    "own."
)


def null_table(records: Iterable[Mapping[str, Any]]) -> BenchmarkResult:
    """Outcomes of every trial and criterion on null models, with the rate of PASS."""
    nulls = [each for each in records if each["kind"] in NULLS]
    rows = [
        _null_row(name, [each for each in nulls if not _is_true_of(name, each)], criterion)
        for name, criterion in _names(nulls)
    ]
    architectures, kinds = ({each[key] for each in nulls} for key in ("architecture", "kind"))
    title = f"{len(nulls)} null models of {len(architectures)} architectures and {len(kinds)} kinds"
    return BenchmarkResult("nulls", title, COLUMNS, tuple(rows), NULL_NOTE)


def power_table(records: Iterable[Mapping[str, Any]]) -> BenchmarkResult:
    """Outcomes of every trial and criterion on models that are planted, trained or real."""
    groups = {kind: [each for each in records if each["kind"] == kind] for kind in GROUPS}
    names = _names([each for group in groups.values() for each in group])
    rows = tuple(
        (name, *(_power_cell(name, group, criterion) for group in groups.values())) for name, criterion in names
    )
    columns = ("trial or criterion", *GROUPS.values())
    return BenchmarkResult("power", "Models with an effect", columns, rows, POWER_NOTE)


def clopper_pearson(passed: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a proportion."""
    interval = binomtest(passed, total).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)


def write(folder: Path, tables: Iterable[BenchmarkResult], provenance: Mapping[str, Any]) -> str:
    """Write the tables as Markdown and JSON, and return the Markdown."""
    return _write(folder, {table.name: table.as_dict() | {"provenance": dict(provenance)} for table in tables})


def write_again(
    folder: Path, tables: Iterable[BenchmarkResult], trials: Iterable[str], provenance: Mapping[str, Any]
) -> str:
    """Put the rows of some trials, which were run again, in the place of those in a folder, and return the Markdown.

    The note of each table names them with the date. Raises FileNotFoundError if the folder has no tables.
    """
    stored, again = json.loads((folder / JSON).read_text(encoding="utf-8")), list(trials)
    for table in tables:
        old, new = stored[table.name], {row[COLUMNS[0]]: row for row in table.as_dict()["rows"]}
        kept = [name for row in old["rows"] if (name := row[COLUMNS[0]]) in new or name.partition("[")[0] not in again]
        rows = {row[COLUMNS[0]]: row for row in old["rows"]} | new
        old["rows"] = [rows[name] for name in dict.fromkeys([*kept, *new])]
        old["note"] += f" Run again on {provenance['date']}, alone ({provenance['machine']}): {', '.join(again)}."
    return _write(folder, stored)


def _write(folder: Path, stored: Mapping[str, Any]) -> str:
    text = "\n".join([INTRODUCTION, *map(results_file.render_result, stored.values())])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    (folder / MARKDOWN).write_text(text, encoding="utf-8")
    return text


def _names(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, bool]]:
    """Criteria and trials in order, each with whether it is a criterion; a trial that is NA everywhere is left out."""
    records = list(records)
    criteria = dict.fromkeys(name for each in records for name in each["criteria"])
    trials = dict.fromkeys(
        name for each in records for name, trial in each["trials"].items() if trial["outcome"] != "NA"
    )
    return [*((name, True) for name in criteria), *((name, False) for name in trials)]


def _is_true_of(trial: str, record: Mapping[str, Any]) -> bool:
    """Whether a trial is named after a part that a null has from a trained model."""
    return any(part in trial for part in NULLS[record["kind"]].trained)


def _outcomes(name: str, records: Iterable[Mapping[str, Any]], criterion: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """The outcome on each model for which the trial or criterion is there."""
    if criterion:
        return [(each["criteria"][name], each) for each in records if name in each["criteria"]]
    return [(each["trials"][name]["outcome"], each) for each in records if name in each["trials"]]


def _null_row(name: str, records: list[Mapping[str, Any]], criterion: bool) -> tuple[TableCell, ...]:
    outcomes = _outcomes(name, records, criterion)
    counts = Counter("ERROR" if outcome not in OUTCOMES else outcome for outcome, _ in outcomes)
    total = len(outcomes) if criterion else sum(counts[outcome] for outcome in JUDGED)
    rate: tuple[float | None, ...] = (None, None, None)
    if total:
        rate = tuple(100 * share for share in (counts["PASS"] / total, *clopper_pearson(counts["PASS"], total)))
    passed = Counter(f"{each['kind']} {each['architecture']}" for outcome, each in outcomes if outcome == "PASS")
    who = ", ".join(f"{where} × {count}" if count > 1 else where for where, count in sorted(passed.items()))
    return name, len(outcomes), *(counts[outcome] for outcome in OUTCOMES), *rate, who or None


def _power_cell(name: str, records: list[Mapping[str, Any]], criterion: bool) -> str | None:
    """Such as ``4 of 5, 1 VACUOUS, 1 NA``; None for a trial that has not run on any of the models."""
    counts = Counter(outcome for outcome, _ in _outcomes(name, records, criterion))
    total = sum(counts.values()) if criterion else sum(counts[outcome] for outcome in JUDGED)
    others = [f"{count} {outcome}" for outcome, count in sorted(counts.items()) if outcome != "PASS"]
    return ", ".join([f"{counts['PASS']} of {total}", *others]) if counts else None
