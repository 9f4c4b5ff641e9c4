"""A run beside an accepted one: every trial × case of either ends in exactly one state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.change import change
from pytest_unineuron.baseline.comparable import Side, dropped, incomparable, judged, left_out, undefined
from pytest_unineuron.evidence.holm import SIGNIFICANCE_LEVEL, holm_adjust
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import DESELECTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_unineuron.baseline.comparable import Key
    from pytest_unineuron.baseline.waiver import Waiver
    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.records import Evidence


class State(StrEnum):
    """What became of one trial × case since the baseline."""

    REGRESSED = "regressed"
    MISSING = "missing"
    INCOMPARABLE = "incomparable"
    WAIVED = "waived"
    NOT_RUN = "not run"
    NEW = "new"
    IMPROVED = "improved"
    SAME = "same"


COMPARED = (State.REGRESSED, State.IMPROVED, State.SAME)
"""States of cases that have a result on both sides, and were held against each other."""
RANK = (Outcome.PASS, Outcome.NA, Outcome.FAIL, Outcome.VACUOUS, Outcome.ERROR)
"""From the best to the worst: support, nothing said, counter-evidence, a test that proves nothing, a broken one."""


@dataclass(frozen=True)
class Entry:
    """One trial × case: its state and why. An outcome is None on the side where there is none.

    ``waived`` is the state it would be in without its waiver.
    """

    name: str
    variant: str
    model: str
    state: State
    reason: str = ""
    before: Outcome | None = None
    after: Outcome | None = None
    nodeid: str = ""
    waived: State | None = None

    def __str__(self) -> str:
        """``regressed: heavy_tails[news] on neox-a: PASS before, FAIL now``."""
        variant = f" {self.variant}" if self.variant else ""
        return f"{self.state}: {self.name}{variant} on {self.model}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Comparison:
    """All entries, in the order of the baseline, then what is new. ``remarks`` are for whoever keeps the waivers."""

    entries: tuple[Entry, ...]
    remarks: tuple[str, ...] = ()

    def of(self, *states: State) -> list[Entry]:
        """The entries in these states."""
        return [entry for entry in self.entries if entry.state in states]

    @property
    def compared(self) -> int:
        """How many cases were held against each other."""
        return sum((entry.waived or entry.state) in COMPARED for entry in self.entries)

    @property
    def counts(self) -> dict[State, int]:
        """How many entries are in each state, zeros included; they add up to all entries."""
        found = Counter(entry.state for entry in self.entries)
        return {state: found[state] for state in State}

    def __str__(self) -> str:
        """One line whose numbers add up."""
        parts = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        return f"{len(self.entries)} trials × cases: {parts or 'none'}"


def compare(
    old: Evidence,
    new: Evidence,
    *,
    waivers: Sequence[Waiver] = (),
    across: Iterable[str] = (),
    today: date | None = None,
) -> Comparison:
    """Hold a run against an accepted one.

    ``across`` names what may differ and still be compared: ``weights`` of the models, the ``corpus``. ``today``
    decides which waivers are over; a clock that runs behind the baseline is not believed.
    """
    before, after = _cases(old), _cases(new)
    if any(before[key].record.path != after[key].record.path for key in before.keys() & after.keys()):
        # Another root folder, or files that moved: what was asked for by path cannot be told from what was not.
        new = replace(new, asked={**new.asked, "paths": ["."]})
    found = [
        _entry(key, before.get(key), after.get(key), old, new, frozenset(across))
        for key in dict.fromkeys([*before, *after])
    ]
    return _waived(_moved(found, before, after), waivers, _today(old, new, today))


def _cases(evidence: Evidence) -> dict[Key, Side]:
    return {
        (record.trial.id, record.corpus, subject.model, case.variant): Side(record, case)
        for record in evidence.trials
        for subject in record.subjects
        for case in subject.cases
    }


def _entry(key: Key, old: Side | None, new: Side | None, was: Evidence, now: Evidence, across: frozenset[str]) -> Entry:
    side = new or old
    assert side is not None
    before = old.case.outcome if old else None
    after = new.case.outcome if new else None
    nodeid = side.case.result.subject.nodeid
    entry = Entry(side.record.name, key[3], key[2], State.SAME, "", before, after, nodeid)
    if old is None or before is Outcome.NOT_RUN:
        ran = after is not None and after is not Outcome.NOT_RUN
        return replace(entry, state=State.NEW if ran else State.NOT_RUN, reason=f"{after}" if ran else "")
    if new is None:
        why = left_out(key, nodeid, now)
        state = State.NOT_RUN if why else State.MISSING
        return replace(entry, state=state, reason=why or f"it was {before} and is not there any more")
    if after is Outcome.NOT_RUN:
        on_purpose = new.case.reason == DESELECTED.reason
        return replace(entry, state=State.NOT_RUN if on_purpose else State.MISSING, reason=new.case.reason)
    if reason := incomparable(old, new, was, now, across):
        return replace(entry, state=State.INCOMPARABLE, reason=reason)
    assert before is not None
    assert after is not None
    reason = f"{before} before, {after} now: {new.case.reason}"
    if RANK.index(after) > RANK.index(before):
        return replace(entry, state=State.REGRESSED, reason=reason)
    if why := dropped(old, new):
        return replace(entry, state=State.INCOMPARABLE, reason=why)
    if gone := undefined(old, new):
        return replace(
            entry, state=State.REGRESSED, reason=f"{after} as before, but {gone} cannot be measured any more"
        )
    return entry if before is after else replace(entry, state=State.IMPROVED, reason=reason)


@dataclass(frozen=True)
class _Move:
    """One claimed measurement of a case (number ``at``) that came out the same, before and after."""

    at: int
    before: Measurement
    after: Measurement

    def __str__(self) -> str:
        return f"{self.before.name} went from {_estimate(self.before)} to {_estimate(self.after)}"


def _moved(entries: list[Entry], before: Mapping[Key, Side], after: Mapping[Key, Side]) -> list[Entry]:
    """The entries, of which some with the same outcome have measurements that moved more than noise allows.

    All measurements of the comparison are one family (Holm 1979): among a hundred, some move by chance.
    """
    moves = list(_moves(entries, before, after))
    changes = [change(move.before, move.after) for move in moves]
    corrected = holm_adjust({str(i): p for i, (_, p) in enumerate(changes)})
    told: dict[int, list[tuple[bool, str]]] = {}
    for i, (move, (worse, _)) in enumerate(zip(moves, changes, strict=True)):
        if corrected[str(i)] <= SIGNIFICANCE_LEVEL:
            told.setdefault(move.at, []).append((worse <= 0, str(move)))
    found = list(entries)
    for at, reasons in told.items():
        reasons.sort()  # what got worse comes first, and decides
        state = State.IMPROVED if reasons[0][0] else State.REGRESSED
        reason = f"{entries[at].after} as before, but " + "; ".join(text for _, text in reasons)
        found[at] = replace(entries[at], state=state, reason=reason)
    return found


def _moves(entries: list[Entry], before: Mapping[Key, Side], after: Mapping[Key, Side]) -> Iterator[_Move]:
    """The claimed measurements of cases that came out the same; those that nulls show too say nothing anyway."""
    for at, (entry, key) in enumerate(zip(entries, dict.fromkeys([*before, *after]), strict=True)):
        if entry.state is State.SAME and entry.after is not Outcome.VACUOUS:
            one = judged(before[key].case.result.subject.measurements)
            other = judged(after[key].case.result.subject.measurements)
            for name in one:
                if name in other and one[name].value is not None and other[name].value is not None:
                    yield _Move(at, one[name], other[name])


def _estimate(m: Measurement) -> str:
    ends = f" [{format_number(m.low)}, {format_number(m.high)}]" if m.low is not None and m.high is not None else ""
    return format_number(m.value) + ends


def _today(old: Evidence, new: Evidence, today: date | None) -> date:
    """The date by which waivers end: never one before either run was made."""
    stamps = [date.fromisoformat(e.created[:10]) for e in (old, new) if e.created]
    return max([today or date.today(), *stamps])


WAIVABLE = (State.REGRESSED, State.MISSING, State.INCOMPARABLE)


def _waived(entries: list[Entry], waivers: Sequence[Waiver], today: date) -> Comparison:
    found, used, remarks = [], set(), []
    for entry in entries:
        about = [w for w in waivers if w.covers(entry.name, entry.variant, entry.model)]
        valid = next((w for w in about if w.until >= today), None)
        if entry.state in WAIVABLE and valid is not None:
            used.add(valid)
            reason = f"until {valid.until}, for {valid.reason} (it is {entry.state}: {entry.reason})"
            entry = replace(entry, state=State.WAIVED, reason=reason, waived=entry.state)
        found.append(entry)
    for waiver in waivers:
        if waiver.until < today:
            remarks.append(f"the waiver of {waiver} is over; renew it with a new date, or mend what it waits for")
        elif waiver not in used:
            remarks.append(f"the waiver of {waiver} waives nothing; leave it out")
    return Comparison(tuple(found), tuple(remarks))
