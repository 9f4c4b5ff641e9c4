"""The trials grouped by outcome, with the models and texts of a trial beside each other, in any width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.measurement import WEAKEST_FIRST, BoundStatus, format_number
from pytest_unineuron.evidence.outcome import ControlStatus, Outcome
from pytest_unineuron.reports.lines import OUTCOME_COLOURS, shorten, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_unineuron.evidence.outcome import CaseResult
    from pytest_unineuron.evidence.records import Evidence, RecordedCase
    from pytest_unineuron.reports.lines import Line

CLOSE = tuple(map(WEAKEST_FIRST.index, (BoundStatus.UNDEFINED, BoundStatus.UNCLEAR)))
"""The statuses of a claim that is the reason why a case is NA."""
HEADINGS = {
    Outcome.PASS: "shown by the model, beyond every control",
    Outcome.FAIL: "not shown by the model, or not beyond every control",
    Outcome.VACUOUS: "shown by a control too, so it supports nothing",
    Outcome.NA: "too close to call, or too little to tell",
    Outcome.ERROR: "broken",
}
PASS_IF_VACUOUS_COUNTS = "shown by the model, and perhaps by a control too, as vacuous trials count"
"""The heading of PASS with ``--unineuron-accept-vacuous``."""


class Claim(NamedTuple):
    """One claimed number of a case: its own bound, or the comparison with a control.

    ``strength`` is the distance of the value from what is claimed, positive on the claimed side, and in half-widths of
    its interval where it has one. The weakest claim of a case decides it: one that misses, else one that is open, else
    one that holds.
    """

    status: int
    strength: float
    claimed: str
    value: str
    control: str = ""
    profile: str = ""

    @property
    def beside(self) -> str:
        """The value with the control that is nearest and the profile over layers."""
        control = f" (nearest: {self.control})" if self.control else ""
        return f"{self.value}{control}{' ' if self.profile else ''}{self.profile}"


def weakest_claim(each: RecordedCase) -> Claim | None:
    """The claim that decides a case; None if it measured nothing that is claimed."""
    return min(_claims(each.case.result), key=lambda claim: claim[:2], default=None)


def _claims(result: CaseResult) -> Iterator[Claim]:
    for m in result.subject.measurements:
        if m.claimed and m.bounds_text:
            signed = [sign * (m.value or 0) - sign * at for sign, at in ((1, m.above), (-1, m.below)) if at is not None]
            distance = -math.inf if m.value is None else min(signed)
            rank, strength = WEAKEST_FIRST.index(m.bound_status), _strength(distance, m.low, m.high)
            yield Claim(rank, strength, f"{m.name} {m.bounds_text}", m.value_text)
    for c in result.nearest.values():
        way = "lower" if c.lower else "higher"
        much = f"P {c.claim_text}" if c.by_unit else f"by {format_number(abs(c.claimed))}"
        alone = "" if c.carried_by is None else f", and not without layer {c.carried_by}"
        claimed = f"{c.measurement} {way} than in every control, {much}"
        rank, strength = WEAKEST_FIRST.index(c.status), _strength(c.margin, c.low, c.high)
        yield Claim(rank, strength, claimed, c.value_text, c.control + alone, c.bars)


def _strength(distance: float, low: float | None, high: float | None) -> float:
    half = (high - low) / 2 if low is not None and high is not None else 0.0
    return distance / half if half > 0 else distance


def cases_not_applicable(cases: Iterable[RecordedCase]) -> dict[tuple[str, str], list[str]]:
    """The labels of the cases that do not apply, by the model and the reason."""
    labels: dict[tuple[str, str], list[str]] = {}
    for each in cases:
        if reason := each.subject.not_applicable:
            labels.setdefault((each.subject.model, reason), []).append(each.label)
    return labels


def outcome_lines(evidence: Evidence, width: int) -> Iterator[Line]:
    """A group for each outcome, and in it a paragraph for each trial."""
    cases = [each for each in evidence.cases if not each.subject.not_applicable]
    headings = HEADINGS | ({Outcome.PASS: PASS_IF_VACUOUS_COUNTS} if evidence.accept_vacuous else {})
    for outcome, heading in headings.items():
        found = [each for each in cases if each.case.outcome is outcome]
        if found:
            yield "", ""
            yield from wrapped(f"{outcome} ({len(found)}): {heading}", width, colour=OUTCOME_COLOURS[outcome])
            yield from PARAGRAPHS[outcome](found, width)


def _claim_paragraphs(cases: Iterable[RecordedCase], width: int) -> Iterator[Line]:
    """Each trial with what was claimed, and the value on each model and text."""
    for of_trial in _by_trial(cases):
        trial = of_trial[0].record.trial
        by_claim: dict[str, list[str]] = {}
        for each in of_trial:
            claim = weakest_claim(each)
            claimed, value = (claim.claimed, claim.beside) if claim else (_first_line(each.case.reason), "")
            by_claim.setdefault(claimed, []).append(f"{_place(each)} {value}")
        for claimed, cells in by_claim.items():
            yield from wrapped(f"{trial.id}{'*' if trial.primary else ''}: {claimed}", width, 2)
            for cell in cells:
                yield from wrapped(cell, width, 6)


def _vacuous_paragraphs(cases: Iterable[RecordedCase], width: int) -> Iterator[Line]:
    """Each trial with the controls that show the same, and where; nobody needs the values."""
    for of_trial in _by_trial(cases):
        trial = of_trial[0].record.trial
        by_controls: dict[str, list[str]] = {}
        for each in of_trial:
            by_controls.setdefault(_showing(each), []).append(_place(each))
        told = "; ".join(f"{', '.join(places)} ({controls})" for controls, places in by_controls.items())
        yield from wrapped(f"{trial.id}{'*' if trial.primary else ''}: {told}", width, 2)


def _showing(each: RecordedCase) -> str:
    """The controls that show the same as the model, or come too near."""
    result = each.case.result
    held, near = result.controls(ControlStatus.HELD), result.controls(ControlStatus.NEAR)
    return ", ".join(held) or f"{', '.join(near)} too near"


def _reason_paragraphs(cases: Iterable[RecordedCase], width: int) -> Iterator[Line]:
    """Cases with the same reason together; a claim that is too close to call with its value.

    Where all claims hold, or one misses, something else is the reason, such as a control that is missing.
    """
    cases = list(cases)
    close = [each for each in cases if (claim := weakest_claim(each)) and claim.status in CLOSE]
    yield from _claim_paragraphs(close, width)
    by_reason: dict[tuple[str, str], list[str]] = {}
    for each in cases:
        if each not in close:
            # A reason can be the long message of an exception; the terminal shows its first line, the report all of it.
            by_reason.setdefault((each.subject.model, _first_line(each.case.reason)), []).append(each.record.name)
    for (model, reason), names in by_reason.items():
        which = names[0] if len(set(names)) == 1 else f"{len(names)} cases"
        yield from wrapped(f"{which} on {model}: {reason}", width, 2)


PARAGRAPHS: dict[Outcome, Callable[[Iterable[RecordedCase], int], Iterator[Line]]] = {
    Outcome.PASS: _claim_paragraphs,
    Outcome.FAIL: _claim_paragraphs,
    Outcome.VACUOUS: _vacuous_paragraphs,
    Outcome.NA: _reason_paragraphs,
    Outcome.ERROR: _reason_paragraphs,
}


def _by_trial(cases: Iterable[RecordedCase]) -> Iterable[list[RecordedCase]]:
    """The cases of each trial together, however they were ordered, in the order of their first cases."""
    by_trial: dict[str, list[RecordedCase]] = {}
    for each in cases:
        by_trial.setdefault(each.record.trial.id, []).append(each)
    return by_trial.values()


def _place(each: RecordedCase) -> str:
    """The model and the text of a case, with the variant of its parameters."""
    corpus = f" on {each.record.corpus}" if each.record.corpus else ""
    return f"{each.subject.model}{corpus}{f' {each.case.variant}' if each.case.variant else ''}"


def _first_line(text: str) -> str:
    return shorten((text.splitlines() or [""])[0])
