"""Whether a report can become a baseline: it has to be complete, measured in one run, and reproducible elsewhere.

Also whether the file that it is written to may be replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.errors import OptionError, ReportError
from pytest_unineuron.evidence import strict_json
from pytest_unineuron.evidence.outcome import DESELECTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import Evidence

PYTHON_DEPENDENT = ("stdlib", "pydoc")
"""Corpora whose text depends on the version of Python."""
KEPT = "accept does not replace it: name another file, or delete this one"
"""What to type next about an existing file that is no baseline."""


def check_acceptable(evidence: Evidence, *, partial: bool = False) -> None:
    """Raises ReportError, with every reason, for a report that must not become a baseline.

    ``partial`` accepts a run in which trials were deselected; lost results are never accepted.
    """
    reasons = [*_reasons_of_run(evidence, partial=partial), *_reasons_of_arms(list(evidence.arms), partial=partial)]
    reasons += _reasons_of_corpora(evidence)
    if reasons:
        raise ReportError("this report cannot be accepted: " + "; ".join(reasons))


def _reasons_of_run(evidence: Evidence, *, partial: bool) -> Iterator[str]:
    if not evidence.trials:
        yield "there is no trial in it; run pytest evals/"
    if evidence.violations:
        yield f"it was locked, and something changed since ({evidence.violations[0]})"
    if evidence.incomplete:
        yield f"results were lost ({evidence.incomplete[0]}); run it again"
    if (part := evidence.asked.get("part")) and not partial:
        yield f"{', '.join(part)} left items out; run all of them, or say --partial"


def _reasons_of_arms(arms: list[ArmResult], *, partial: bool) -> Iterator[str]:
    if broken := [arm for arm in arms if arm.outcome is Outcome.ERROR]:
        yield f"{len(broken)} items broke ({broken[0].nodeid}: {broken[0].reason}); fix them and run again"
    not_run = [arm for arm in arms if arm.outcome is Outcome.NOT_RUN]
    if unreached := [arm for arm in not_run if arm.reason != DESELECTED.reason]:
        yield f"{len(unreached)} items were never reached ({unreached[0].nodeid}); run it to its end"
    deselected = [arm for arm in not_run if arm.reason == DESELECTED.reason]
    if deselected and not partial:
        yield f"{len(deselected)} items were deselected ({deselected[0].nodeid}); run all of them, or say --partial"


def _reasons_of_corpora(evidence: Evidence) -> Iterator[str]:
    specs = {name: facts.get("spec") for name, facts in evidence.corpora.items()}
    specs |= {spec: spec for spec in evidence.settings.get("corpus", ())}
    if changing := [name for name, spec in specs.items() if spec in PYTHON_DEPENDENT]:
        yield f"{', '.join(changing)} depends on the version of Python; leave it out (--unineuron-corpus)"


def lost_cases(before: Evidence, after: Evidence) -> list[str]:
    """The cases that the old baseline holds and the new one would not."""
    nothing = (None, Outcome.NOT_RUN)
    entries = compare(before, after).entries
    return [str(entry) for entry in entries if entry.before not in nothing and entry.after in nothing]


def check_replaceable(path: Path) -> None:
    """Raise OptionError for an existing file that is no baseline, or a damaged one. One of any schema is replaced."""
    if path.exists() and not path.is_file():
        raise OptionError(f"baseline {path}: is no file; name a file")
    if not path.exists():
        return
    try:
        data = strict_json.read_json(path, "baseline", KEPT)
        if "schema_version" not in data:
            raise ReportError(f"baseline {path}: has no schema_version, so it is no baseline; {KEPT}")
        strict_json.verify_digest(data, f"baseline {path}", KEPT)
    except ReportError as error:
        raise OptionError(str(error)) from None
