"""A run compared with an accepted one: every case of either run is in exactly one state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.change import measure_change
from pytest_unineuron.baseline.comparable import (
    changed_claims,
    claims_by_key,
    newly_undefined,
    other_labels,
    reason_incomparable,
    reason_left_out,
)
from pytest_unineuron.evidence.holm import SIGNIFICANCE_LEVEL, holm_adjust
from pytest_unineuron.evidence.measurement import Measurement, measurements_by_key
from pytest_unineuron.evidence.outcome import DESELECTED, NEVER_REACHED, Outcome
from pytest_unineuron.evidence.records import RecordedCase, case_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_unineuron.baseline.comparable import CaseKey
    from pytest_unineuron.baseline.waiver import Waiver
    from pytest_unineuron.evidence.contrast import Contrast
    from pytest_unineuron.evidence.measurement import MeasurementKey
    from pytest_unineuron.evidence.outcome import CaseResult
    from pytest_unineuron.evidence.records import Evidence


class CaseState(StrEnum):
    """The state of a case, compared with the baseline."""

    REGRESSED = "regressed"
    MISSING = "missing"
    INCOMPARABLE = "incomparable"
    WAIVED = "waived"
    NOT_RUN = "not run"
    NEW = "new"
    IMPROVED = "improved"
    SAME = "same"


COMPARED_STATES = (CaseState.REGRESSED, CaseState.IMPROVED, CaseState.SAME)
"""The states of cases that have a result in both runs, and whose results were compared."""
WAIVABLE_STATES = (CaseState.REGRESSED, CaseState.MISSING, CaseState.INCOMPARABLE, CaseState.NOT_RUN)
BEST_FIRST = (Outcome.PASS, Outcome.NA, Outcome.FAIL, Outcome.VACUOUS, Outcome.ERROR)
"""Outcomes from the best to the worst: support, no answer, counter-evidence, no evidence, a broken trial."""


@dataclass(frozen=True)
class ComparedCase:
    """One case: its state and the reason. An outcome is None in a run without the case.

    ``waived`` is the state that the case would be in without its waiver.
    """

    name: str
    variant: str
    model: str
    state: CaseState
    reason: str = ""
    before: Outcome | None = None
    after: Outcome | None = None
    nodeid: str = ""
    waived: CaseState | None = None

    @property
    def case(self) -> str:
        """The name of the case: ``heavy_tails[news] on neox-a``."""
        return case_name(self.name, self.variant, self.model)

    def __str__(self) -> str:
        """One line: ``regressed: heavy_tails[news] on neox-a: PASS before, FAIL now``."""
        return f"{self.state}: {self.case}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Comparison:
    """All cases, in the order of the baseline, then the new ones. ``remarks`` name waivers that are not needed.

    ``other_labels`` says which labels the runs have, if they have no model or no corpus in common.
    """

    entries: tuple[ComparedCase, ...]
    remarks: tuple[str, ...] = ()
    other_labels: str = ""

    def of(self, *states: CaseState) -> list[ComparedCase]:
        """The cases in these states."""
        return [entry for entry in self.entries if entry.state in states]

    @property
    def compared(self) -> int:
        """The number of cases whose results were compared."""
        return sum((entry.waived or entry.state) in COMPARED_STATES for entry in self.entries)

    @property
    def counts(self) -> dict[CaseState, int]:
        """The number of cases in each state, zeros included."""
        found = Counter(entry.state for entry in self.entries)
        return {state: found[state] for state in CaseState}

    def __str__(self) -> str:
        """One line with the number of cases, in total and by state."""
        parts = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        count = len(self.entries)
        return f"{count} case{'s' * (count != 1)}: {parts or 'none'}"


CasePairs = dict["CaseKey", tuple["RecordedCase | None", "RecordedCase | None"]]
"""The cases of two runs, in the order of the first, then the new ones; None in the run without the case."""


def compare(
    old: Evidence,
    new: Evidence,
    *,
    waivers: Sequence[Waiver] = (),
    across: Iterable[str] = (),
    today: date | None = None,
) -> Comparison:
    """Compare the run ``new`` with the accepted run ``old``.

    ``across`` names what may differ: ``weights`` of the models, the text of a ``corpus``. ``today`` decides which
    waivers have expired; if the clock is earlier than the date of either run, that date counts.
    """
    before, after = _cases_by_key(old), _cases_by_key(new)
    pairs: CasePairs = {key: (before.get(key), after.get(key)) for key in dict.fromkeys([*before, *after])}
    if any(one and other and one.record.path != other.record.path for one, other in pairs.values()):
        # With another root folder, or files that moved, the paths asked for do not show what was left out.
        new = replace(new, asked={**new.asked, "paths": ["."]})
    entries = [_entry(key, *pair, old, new, frozenset(across)) for key, pair in pairs.items()]
    found = _waived(_with_value_changes(entries, pairs), waivers, _date_of_waivers(old, new, today))
    return replace(found, other_labels=other_labels(before, after, new))


def _cases_by_key(evidence: Evidence) -> dict[CaseKey, RecordedCase]:
    return {
        (each.record.trial.id, each.record.corpus, each.subject.model, each.case.variant): each
        for each in evidence.cases
    }


def _entry(
    key: CaseKey,
    old: RecordedCase | None,
    new: RecordedCase | None,
    was: Evidence,
    now: Evidence,
    across: frozenset[str],
) -> ComparedCase:
    """The state of a case by its outcomes; changes of its values are judged later, all together."""
    either = new or old
    assert either is not None
    before, after = old.case.outcome if old else None, new.case.outcome if new else None
    if old is None or before is Outcome.NOT_RUN:
        ran = after is not None and after is not Outcome.NOT_RUN
        state, reason = (CaseState.NEW, str(after)) if ran else (CaseState.NOT_RUN, "")
    elif new is None:
        left_out = reason_left_out(key, either.nodeid, now)
        state = CaseState.NOT_RUN if left_out else CaseState.MISSING
        reason = left_out or f"it was {before} and is missing now"
    elif after is Outcome.NOT_RUN:
        reason = new.case.reason
        state = CaseState.NOT_RUN if reason == DESELECTED.reason else CaseState.MISSING
    else:
        state, reason = _state_of_pair(old, new, reason_incomparable(old, new, was, now, across))
    variant, model = either.case.variant, either.subject.model
    return ComparedCase(either.record.name, variant, model, state, reason, before, after, either.nodeid)


def _state_of_pair(old: RecordedCase, new: RecordedCase, incomparable: str) -> tuple[CaseState, str]:
    """The state of a case that has a result in both runs, and the reason."""
    before, after = old.case.outcome, new.case.outcome
    change = f"{before} before, {after} now: {new.case.reason}"
    if incomparable:
        return CaseState.INCOMPARABLE, incomparable
    if unreached := _unreached_controls(old, new):
        return CaseState.MISSING, f"it was {before}; of its controls, {', '.join(unreached)} never ran"
    if BEST_FIRST.index(after) > BEST_FIRST.index(before):
        return CaseState.REGRESSED, change
    if reason := changed_claims(old, new):
        return CaseState.INCOMPARABLE, reason
    if name := newly_undefined(old, new):
        return CaseState.REGRESSED, f"{_outcomes(before, after)}, but {name} cannot be measured any more"
    own, own_now = (each.case.result.subject.outcome for each in (old, new))
    if BEST_FIRST.index(own_now) > BEST_FIRST.index(own):
        return CaseState.REGRESSED, f"{change} (the model itself: {own} before, {own_now} now)"
    if before is after:
        return CaseState.SAME, ""
    # That no null shows the claim any more, or that nulls were lost, is no improvement of a model that shows the same.
    unshown = after is Outcome.NA or (before is Outcome.VACUOUS and after is not Outcome.PASS)
    return (CaseState.SAME if unshown and own is own_now else CaseState.IMPROVED), change


def _unreached_controls(old: RecordedCase, new: RecordedCase) -> list[str]:
    """The controls that a run which was cut short did not come to, while the model itself is as it was or better."""
    own, own_now = (BEST_FIRST.index(each.case.result.subject.outcome) for each in (old, new))
    arms = new.case.result.arms.items() if new.case.outcome is Outcome.NA and own_now <= own else ()
    return [name for name, arm in arms if (arm.outcome, arm.reason) == (Outcome.NOT_RUN, NEVER_REACHED.reason)]


def _outcomes(before: Outcome | None, after: Outcome | None) -> str:
    return f"{after} as before" if before is after else f"{before} before, {after} now"


@dataclass(frozen=True)
class _ValuePair:
    """One claimed measurement of the case ``at`` this index, in both runs."""

    at: int
    before: Measurement
    after: Measurement

    def __str__(self) -> str:
        values = [m.value_text for m in (self.before, self.after)]
        return f"{self.before.name} went from {values[0]} to {values[1]}"


def _with_value_changes(entries: list[ComparedCase], pairs: CasePairs) -> list[ComparedCase]:
    """The entries, where a case is regressed or improved if a value of its model changed significantly.

    The claimed measurements of all these cases are one family for Holm's correction (Holm 1979): among a hundred,
    some change by chance. A case with changes in both directions is regressed, and so is one that improved because
    of its controls alone while the model got worse.
    """
    values = list(_value_pairs(entries, pairs))
    changes = [measure_change(each.before, each.after) for each in values]
    adjusted = holm_adjust({str(i): p for i, (_, p) in enumerate(changes)})
    significant: dict[int, list[tuple[bool, str]]] = {}
    for i, (each, (worse, _)) in enumerate(zip(values, changes, strict=True)):
        if adjusted[str(i)] <= SIGNIFICANCE_LEVEL:
            significant.setdefault(each.at, []).append((worse <= 0, str(each)))
    found = list(entries)
    for at, reasons in significant.items():
        reasons.sort()  # values that got worse come first
        state = CaseState.IMPROVED if reasons[0][0] else CaseState.REGRESSED
        reason = f"{_outcomes(entries[at].before, entries[at].after)}, but " + "; ".join(text for _, text in reasons)
        found[at] = replace(entries[at], state=state, reason=reason)
    return found


def _value_pairs(entries: list[ComparedCase], pairs: CasePairs) -> Iterator[_ValuePair]:
    """The claimed measurements of cases of which the model's own outcome is the same, whatever the controls did."""
    for at, (entry, (old, new)) in enumerate(zip(entries, pairs.values(), strict=True)):
        if not (old and new and entry.state in (CaseState.SAME, CaseState.IMPROVED)):
            continue
        if entry.state is CaseState.SAME or old.case.result.subject.outcome is new.case.result.subject.outcome:
            before, after = (_claimed_values(each.case.result) for each in (old, new))
            yield from (_ValuePair(at, before[key], after[key]) for key in before if key in after)


def _claimed_values(result: CaseResult) -> dict[MeasurementKey, Measurement]:
    """The claimed values of a model. Of a claim about its units, these are also the probabilities against controls."""
    against = [_as_measurement(contrast) for contrast in result.contrasts if contrast.by_unit]
    found = claims_by_key(result.subject.measurements) | measurements_by_key(against)
    return {key: m for key, m in found.items() if m.value is not None}


def _as_measurement(contrast: Contrast) -> Measurement:
    """The probability of superiority against a control, with its bound."""
    above, below = (None, contrast.claimed) if contrast.lower else (contrast.claimed, None)
    name = f"{contrast.measurement} against {contrast.control}"
    return Measurement(name, contrast.value, above=above, below=below, low=contrast.low, high=contrast.high)


def _date_of_waivers(old: Evidence, new: Evidence, today: date | None) -> date:
    """The date that decides which waivers have expired: never earlier than that of either run."""
    created = [date.fromisoformat(e.created[:10]) for e in (old, new) if e.created]
    return max([today or date.today(), *created])


def _waived(entries: list[ComparedCase], waivers: Sequence[Waiver], today: date) -> Comparison:
    """The comparison, where cases with a valid waiver are waived."""
    found, used, remarks = [], set(), []
    for entry in entries:
        covering = [w for w in waivers if w.covers(entry.name, entry.variant, entry.model)]
        valid = next((w for w in covering if w.until >= today), None)
        if entry.state in WAIVABLE_STATES and valid is not None:
            used.add(valid)
            why = ": ".join(filter(None, (entry.state, entry.reason)))
            reason = f"until {valid.until}, for {valid.reason} (it is {why})"
            entry = replace(entry, state=CaseState.WAIVED, reason=reason, waived=entry.state)
        found.append(entry)
    for waiver in waivers:
        if waiver.until < today:
            remarks.append(f"the waiver of {waiver} has expired; renew it with a new date, or fix what it waits for")
        elif waiver not in used:
            remarks.append(f"the waiver of {waiver} waives nothing; leave it out")
    return Comparison(tuple(found), tuple(remarks))
