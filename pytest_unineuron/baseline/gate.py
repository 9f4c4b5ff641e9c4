"""The exit status of a run and its reason: the same code for the plugin and for saved reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence.outcome import EXPECTED_TO_FAIL, NEVER_REACHED, Outcome
from pytest_unineuron.evidence.saved import read_report
from pytest_unineuron.evidence.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_unineuron.baseline.comparison import Comparison
    from pytest_unineuron.evidence.records import Evidence, RecordedCase
    from pytest_unineuron.options.settings import Settings

OK, TESTS_FAILED, INTERRUPTED, NO_TESTS_COLLECTED = 0, 1, 2, 5
"""Statuses of pytest, of which ours may replace all but that of a run that was interrupted."""


class ExitStatus(IntEnum):
    """Our exit statuses. pytest uses 0 to 6."""

    CRITERION = 20
    REGRESSION = 21
    INCOMPLETE = 22
    BASELINE = 23
    LOCK = 24


def read_baseline(path: Path) -> Evidence | ReportError:
    """The evidence in a baseline, or the error that explains why it cannot be used."""
    try:
        return read_report(path, "baseline")
    except ReportError as error:
        return error


@dataclass(frozen=True)
class Gate:
    """The conditions of a run besides its tests, and how it meets them.

    ``unusable`` explains why a baseline that was asked for cannot be used; ``unwritten`` names files that could not be
    written; ``tolerated`` names states of cases that do not fail the run.
    """

    fail_on: str
    comparison: Comparison | None = None
    unusable: str = ""
    tolerated: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()

    @classmethod
    def of(cls, evidence: Evidence, settings: Settings, accepted: Evidence | ReportError | None, **rest: Any) -> Gate:
        """The gate of a run compared with ``accepted``: a baseline, the error of an unusable one, or None."""
        tolerated = tuple(word.replace("-", " ") for word in settings.tolerate)
        if accepted is None:
            return cls(settings.fail_on, **rest)
        if isinstance(accepted, ReportError):
            return cls(settings.fail_on, unusable=str(accepted), tolerated=tolerated, **rest)
        waivers = [Waiver.parse(text) for text in settings.waive]
        comparison = compare(accepted, evidence, waivers=waivers, across=settings.across)
        return cls(settings.fail_on, comparison, tolerated=tolerated, **rest)

    def reasons(self, evidence: Evidence) -> Iterator[tuple[int, str]]:
        """Every status that applies to the run, with its reason; the run ends with the first."""
        if evidence.incomplete or self.unwritten:
            yield ExitStatus.INCOMPLETE, "results were lost"
        if evidence.violations:
            yield ExitStatus.LOCK, "what was locked has changed"
        if self.unusable:
            yield ExitStatus.BASELINE, "the baseline cannot be used"
        if self.comparison is not None and self.fail_on == "regression":
            yield from self._reasons_of_comparison(self.comparison)
        if self.fail_on == "criterion" and any(line.verdict is Verdict.FAIL for line in evidence.criteria):
            yield ExitStatus.CRITERION, "a criterion FAILs"
        if self.fail_on == "trial" and any(map(_fails, evidence.cases)):
            yield TESTS_FAILED, "a trial FAILs"

    def _reasons_of_comparison(self, comparison: Comparison) -> Iterator[tuple[int, str]]:
        if not comparison.compared:
            reason = comparison.other_labels or "no trial has a result both in the baseline and in this run"
            yield ExitStatus.BASELINE, f"nothing was compared: {reason}"
        for state, status in (
            (CaseState.REGRESSED, ExitStatus.REGRESSION),
            (CaseState.MISSING, ExitStatus.REGRESSION),
            (CaseState.INCOMPARABLE, ExitStatus.BASELINE),
            (CaseState.NOT_RUN, ExitStatus.REGRESSION),
        ):
            if comparison.counts[state] and state not in self.tolerated:
                yield status, f"{comparison.counts[state]} {state}"

    def pytest_status(self, evidence: Evidence) -> int:
        """The status with which pytest itself ends such a run.

        It is 1 if an item broke, or if a miss fails its test; otherwise 2 if items were never reached.
        """
        broken = any(arm.outcome is Outcome.ERROR for arm in evidence.arms)
        missed = any(arm.outcome is Outcome.FAIL and EXPECTED_TO_FAIL not in arm.notes for arm in evidence.subject_arms)
        if broken or (missed and self.fail_on == "trial"):
            return TESTS_FAILED
        stopped = any((arm.outcome, arm.reason) == (Outcome.NOT_RUN, NEVER_REACHED.reason) for arm in evidence.arms)
        return INTERRUPTED if stopped else OK

    def status(self, status: int, evidence: Evidence) -> tuple[int, str]:
        """The status to end with, given pytest's own, and the reason; pytest's own and no reason if it stays.

        1, 20 and 21 replace success and nothing collected; 22 to 24 also replace failed tests, and nothing else is
        replaced.
        """
        for replacement, reason in self.reasons(evidence):
            says_less_than_failed = replacement in (TESTS_FAILED, ExitStatus.CRITERION, ExitStatus.REGRESSION)
            if status in (OK, NO_TESTS_COLLECTED) or (status == TESTS_FAILED and not says_less_than_failed):
                return replacement, reason
        return status, ""


def _fails(case: RecordedCase) -> bool:
    """Whether a case FAILs that was not expected to: its own test may have passed, and a control was as good."""
    expected = any(note.startswith(EXPECTED_TO_FAIL) for note in case.case.result.subject.notes)
    return case.case.outcome is Outcome.FAIL and not expected
