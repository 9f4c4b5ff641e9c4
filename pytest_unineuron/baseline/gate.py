"""What ends a run with a status of ours, and why: one function for the plugin and for saved files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pytest_unineuron.baseline.comparison import State, compare
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence.outcome import EXPECTED_TO_FAIL, Outcome
from pytest_unineuron.evidence.saved import read_report
from pytest_unineuron.evidence.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_unineuron.baseline.comparison import Comparison
    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.options.settings import Settings

PASSED, FAILED, NOTHING_COLLECTED = 0, 1, 5
"""The statuses of pytest that ours may replace."""
MILD = (PASSED, NOTHING_COLLECTED)
"""And those that a FAIL or a regression may: a failed test says enough."""


class Exit(IntEnum):
    """Exit statuses of ours. pytest owns 0 to 6."""

    CRITERION = 20
    REGRESSION = 21
    INCOMPLETE = 22
    BASELINE = 23
    LOCK = 24


def baseline(path: Path) -> Evidence | ReportError:
    """The evidence in a baseline, or why it cannot be used."""
    try:
        return read_report(path, "baseline")
    except ReportError as error:
        return error


@dataclass(frozen=True)
class Gate:
    """What there is to hold a run against, and how it came out.

    ``unusable`` says why a baseline that was asked for could not be compared with; ``unwritten`` what could not
    be written.
    """

    fail_on: str
    comparison: Comparison | None = None
    unusable: str = ""
    tolerated: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()

    @classmethod
    def of(cls, evidence: Evidence, settings: Settings, accepted: Evidence | ReportError | None, **rest: Any) -> Gate:
        """The gate of a run, held against what was ``accepted``: a baseline, why there is none, or none wanted."""
        tolerated = tuple(word.replace("-", " ") for word in settings.tolerate)
        if accepted is None:
            return cls(settings.fail_on, **rest)
        if isinstance(accepted, ReportError):
            return cls(settings.fail_on, unusable=str(accepted), tolerated=tolerated, **rest)
        waivers = [Waiver.parse(text) for text in settings.waive]
        found = compare(accepted, evidence, waivers=waivers, across=settings.across)
        return cls(settings.fail_on, found, tolerated=tolerated, **rest)

    def reasons(self, evidence: Evidence) -> Iterator[tuple[Exit, str]]:
        """Every status that the run has earned, with its reason; the first is the one to end with."""
        if evidence.incomplete or self.unwritten:
            yield Exit.INCOMPLETE, "results were lost"
        if evidence.violations:
            yield Exit.LOCK, "what was locked has moved"
        if self.unusable:
            yield Exit.BASELINE, "the baseline cannot be used"
        if self.comparison is not None and self.fail_on == "regression":
            yield from self._compared(self.comparison)
        if self.fail_on == "criterion" and any(line.verdict is Verdict.FAIL for line in evidence.criteria):
            yield Exit.CRITERION, "a criterion FAILs"

    def _compared(self, comparison: Comparison) -> Iterator[tuple[Exit, str]]:
        counts = comparison.counts
        if not comparison.compared:
            yield Exit.BASELINE, "nothing was compared: no trial has a result both in the baseline and in this run"
        for state, exit_ in (
            (State.REGRESSED, Exit.REGRESSION),
            (State.MISSING, Exit.REGRESSION),
            (State.INCOMPARABLE, Exit.BASELINE),
            (State.NOT_RUN, Exit.REGRESSION),
        ):
            if counts[state] and state not in self.tolerated:
                yield exit_, f"{counts[state]} {state}"

    def own(self, evidence: Evidence) -> int:
        """What pytest itself ends with for such a run: 1 where an item broke, or failed because it is told to."""
        broken = any(arm.outcome is Outcome.ERROR for arm in evidence.arms)
        missed = any(arm.outcome is Outcome.FAIL and EXPECTED_TO_FAIL not in arm.notes for arm in evidence.subject_arms)
        return FAILED if broken or (missed and self.fail_on == "trial") else PASSED

    def status(self, status: int, evidence: Evidence) -> tuple[int, str]:
        """The status to end with, given pytest's own, and why; pytest's own and no reason where it stands.

        20 and 21 replace success and nothing collected; 22 to 24 also replace failed tests; nothing else is replaced.
        """
        for exit_, reason in self.reasons(evidence):
            mild = exit_ in (Exit.CRITERION, Exit.REGRESSION)
            if status in (MILD if mild else (*MILD, FAILED)):
                return exit_, reason
        return status, ""
