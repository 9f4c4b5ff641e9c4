"""Many saved reports on one page: a line for each trial and model, and a column for each report in order of date."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports.by_outcome import weakest_claim
from pytest_unineuron.reports.page import MAX_BYTES, OUTCOME_MARKS, anchor, fits, render_template
from pytest_unineuron.reports.terminal import VERDICT_MARKS, VERDICT_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_unineuron.evidence.criteria import Criterion
    from pytest_unineuron.evidence.records import Evidence, RecordedCase
    from pytest_unineuron.evidence.verdict import Verdict


class NamedReport(NamedTuple):
    """A report with the name by which its column is known."""

    name: str
    evidence: Evidence


class CaseResult(NamedTuple):
    """What a case came to in one report: its outcome, the number that decides it, and whether the outcome is another.

    ``changed`` says that it differs from the one in the last report before in which the case ran.
    """

    outcome: Outcome
    value: str
    changed: bool


class CaseHistory(NamedTuple):
    """One case, with what it came to in each report; None where a report does not have it."""

    name: str
    anchor: str
    cells: list[CaseResult | None]

    @property
    def last(self) -> CaseResult:
        """What the case came to in the last report that has it."""
        return next(cell for cell in reversed(self.cells) if cell is not None)


def render_history(reports: Sequence[NamedReport]) -> str:
    """The page of several reports. Above ``MAX_BYTES`` it leaves the oldest ones out, and says how many."""
    ordered = sorted(reports, key=lambda report: report.evidence.created)
    page = render_template("history.html", History(ordered, 0))
    left_out = 0
    while not fits(page) and left_out < len(ordered) - 1:
        shown = len(ordered) - left_out
        left_out += max(1, min(shown - 1, shown - shown * MAX_BYTES // len(page)))
        page = render_template("history.html", History(ordered[left_out:], left_out))
    return page


class History:
    """Everything that the template of several reports reads."""

    marks, verdict_marks, words = OUTCOME_MARKS, VERDICT_MARKS, VERDICT_WORDS

    def __init__(self, reports: Sequence[NamedReport], left_out: int) -> None:
        self.reports, self.left_out, self.max_bytes = reports, left_out, MAX_BYTES

    @property
    def verdicts(self) -> Iterator[tuple[Criterion, str, list[Verdict | None]]]:
        """The verdict on every criterion for every model, in each report; None where it had no trial on it."""
        for id_, criterion in CRITERIA.items():
            for model in dict.fromkeys(model for _, evidence in self.reports for model in evidence.asked_of(id_)):
                found = [e.verdict_on(id_, model) if model in e.asked_of(id_) else None for _, e in self.reports]
                yield criterion, model, found

    @property
    def rows(self) -> list[CaseHistory]:
        """Every case that applied to its model in any report, those of the last report first."""
        columns = [{each.name: each for each in _applying(evidence)} for _, evidence in self.reports]
        names = dict.fromkeys(name for column in reversed(columns) for name in column)
        return [
            CaseHistory(name, anchor(name), list(_cells([column.get(name) for column in columns]))) for name in names
        ]


def _applying(evidence: Evidence) -> Iterator[RecordedCase]:
    yield from (each for each in evidence.cases if not each.subject.not_applicable)


def _cells(found: Sequence[RecordedCase | None]) -> Iterator[CaseResult | None]:
    """What a case came to in each report."""
    before = None
    for each in found:
        if each is None:
            yield None
            continue
        claim, outcome = weakest_claim(each), each.case.outcome
        ran = outcome is not Outcome.NOT_RUN
        yield CaseResult(outcome, claim.value if claim else "", changed=ran and before not in (None, outcome))
        before = outcome if ran else before
