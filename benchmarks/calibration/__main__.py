"""``python -m benchmarks.calibration``: run all trials on null models and others, and write how often they pass.

A run that was stopped goes on where it was: models whose outcomes are in the work folder are not run again, unless the
trials or the package have changed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.calibration import results, suite
from benchmarks.calibration.models import all_specimens, choose
from pytest_unineuron.errors import ReportError
from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.calibration.models import Specimen

NULLS_PER_PROCESS = 4
"""Null models in one run of the trials, which share the time that it takes to start."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what has not run yet and write the tables; 1 if some models could not be run."""
    parser = make_parser()
    options = parser.parse_args(argv)
    process.configure(1)  # before torch is imported
    trials = options.trials
    digest = suite.suite_digest(trials)
    specimens = [each for each in all_specimens() if not (trials and each.trial) or each.trial in trials]
    try:
        chosen = choose(specimens, options.only, options.models)
    except ValueError as error:
        parser.error(str(error))
    failures = 0 if options.tables else run_missing(chosen, options.work, digest, trials)
    known = results.read(options.work, digest)
    if not known:
        print(f"no results of the present trials in {options.work}; run without --tables", file=sys.stderr)
        return 1
    missing = [each.name for each in specimens if each.name not in known]
    # A part of the models is not what is published, unless it is asked for.
    folder = options.work if missing and not options.tables else options.out
    print(write_tables(folder, list(known.values()), trials))
    if missing:
        print(f"{len(missing)} models have not run: {', '.join(missing[:5])} …", file=sys.stderr)
    return int(failures > 0)


def run_missing(chosen: Sequence[Specimen], work: Path, digest: str, trials: Sequence[str] = ()) -> int:
    """Run the trials on the models that have no results yet, and return how many of them failed to run."""
    known = results.read(work, digest)
    waiting = [specimen for specimen in chosen if specimen.name not in known]
    work.mkdir(parents=True, exist_ok=True)
    failed = 0
    for batch in batches(waiting):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            try:
                records = suite.run(batch, Path(folder), trials)
            except (RuntimeError, ReportError) as error:
                print(error, file=sys.stderr, flush=True)
                failed += len(batch)
                continue
        results.append(work, digest, records)
        for record in records:
            passed = [name for name, trial in record["trials"].items() if trial["outcome"] == "PASS"]
            seconds = f"{record['seconds']} s of processor time"
            print(f"{record['name']}: {seconds}, PASS: {', '.join(passed) or 'none'}", flush=True)
    return failed


def batches(specimens: Sequence[Specimen]) -> Iterator[list[Specimen]]:
    """The models of each run of the trials: some nulls, or one other model."""
    nulls = [specimen for specimen in specimens if specimen.is_null]
    for start in range(0, len(nulls), NULLS_PER_PROCESS):
        yield nulls[start : start + NULLS_PER_PROCESS]
    yield from ([specimen] for specimen in specimens if not specimen.is_null)


def write_tables(folder: Path, records: Sequence[dict[str, object]], trials: Sequence[str] = ()) -> str:
    """Write both tables to a folder, or the rows of some trials into those that it has, and return them as Markdown."""
    from benchmarks import machine
    from benchmarks.calibration import tables

    provenance = machine.provenance("python -m benchmarks.calibration", 1, "cpu")
    made = [tables.null_table(records), tables.power_table(records)]
    if trials and (folder / tables.JSON).is_file():
        return tables.write_again(folder, made, trials, provenance)
    return tables.write(folder, made, provenance)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    add = parser.add_argument
    add("--models", type=int, default=0, metavar="N", help="run the first N models only (default: all)")
    add("--only", default="", metavar="NAME", help="run the models of this kind or architecture only")
    add(
        "--trials",
        nargs="+",
        default=(),
        metavar="TRIAL",
        help="run these trials only, and put their rows into the tables that there are",
    )
    add("--tables", action="store_true", help="write the tables of the results that there are, and run nothing")
    add(
        "--work",
        type=Path,
        default=suite.ROOT / "build" / "calibration",
        metavar="FOLDER",
        help="folder of the results of each model (default: build/calibration)",
    )
    add(
        "--out",
        type=Path,
        default=suite.ROOT / "benchmarks",
        metavar="FOLDER",
        help="folder of CALIBRATION.md and calibration.json, once all models have run (default: benchmarks)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
