"""Whether two runs asked the same of a case: what was left out on purpose, and what is another question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.measurement import BoundStatus
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.options.settings import Affects, settings_affecting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, TrialRecord

WEIGHTS, CORPUS = "weights", "corpus"
"""What may be said to differ and be compared nevertheless."""

Key = tuple[str, str, str, str]
"""Trial id, corpus, model, variant: what a case is known by, whatever file it stands in."""


@dataclass(frozen=True)
class Side:
    """One case in one of the two runs."""

    record: TrialRecord
    case: CaseRecord


def left_out(key: Key, nodeid: str, now: Evidence) -> str:
    """Why a case of the baseline was not asked for; empty if it was."""
    _, corpus, model, _ = key
    asked = now.asked
    if model not in asked.get("models", (model,)):
        return f"{model} was not under test"
    if corpus and corpus not in asked.get("corpora", (corpus,)):
        return f"{corpus} was not asked for"
    if part := asked.get("part"):
        return f"{', '.join(part)} left it out"
    paths = asked.get("paths", (".",))
    if not any(path in (".", nodeid) or nodeid.startswith((f"{path}/", f"{path}::", f"{path}[")) for path in paths):
        return f"{nodeid.partition('[')[0]} was not asked for"
    return ""


def incomparable(old: Side, new: Side, was: Evidence, now: Evidence, across: frozenset[str]) -> str:
    """What is not the same in both runs and has to be; empty if nothing."""
    for name in _shared_settings():
        if (one := was.settings.get(name)) != (other := now.settings.get(name)):
            return f"{name.replace('_', '-')} was {_said(one)} and is {_said(other)}"
    if set(old.case.result.arms) != set(new.case.result.arms):
        return f"its controls were {_names(old.case.result.arms)} and are {_names(new.case.result.arms)}"
    if (was_primary := old.record.trial.primary) != new.record.trial.primary:
        return "it was primary and is not" if was_primary else "it was not primary and is"
    if old.record.trial.criterion != new.record.trial.criterion:
        return f"it spoke to {old.record.trial.criterion} and speaks to {new.record.trial.criterion}"
    one, other = old.case.result.subject, new.case.result.subject
    for kind, word, what in (("models", "weights or configuration", WEIGHTS), ("corpora", "text", CORPUS)):
        mine, theirs = one.made_from.get(kind), other.made_from.get(kind)
        if mine == theirs or Outcome.ERROR in (old.case.outcome, new.case.outcome):
            continue  # what broke may not have come to know what it rests on
        if not mine or not theirs:
            return f"it is not known which {kind} it rests on"
        if mine.keys() != theirs.keys():
            return f"{kind} were {_names(mine)} and are {_names(theirs)}"
        if what not in across:
            changed = ", ".join(label for label in mine if mine[label] != theirs[label])
            return f"other {word}: {changed} (--unineuron-across={what} compares nevertheless)"
    before, after = _numbered(one.measurements), _numbered(other.measurements)
    for claim in before:
        if claim in after and _bound(before[claim]) != _bound(after[claim]):
            return f"{claim[0]} was claimed {_bound(before[claim])} and is claimed {_bound(after[claim])}"
    return ""


def _shared_settings() -> list[str]:
    """The settings that two runs have to share; which controls ran is compared arm by arm."""
    names = settings_affecting(Affects.TEXT, Affects.ACTIVATIONS, Affects.COMPARISON, Affects.VERDICT)
    return [name for name in names if name != "controls"]


def dropped(old: Side, new: Side) -> str:
    """What is claimed or needed no more, or newly; empty if nothing is. A body that ended early claims less."""
    one, other = old.case.result.subject, new.case.result.subject
    before, after = (
        {n: m for n, m in _numbered(arm.measurements).items() if m.needed or m.claimed} for arm in (one, other)
    )
    gone = [name[0] for name in before if name not in after]
    added = [] if _ended_early(one) else [name[0] for name in after if name not in before]
    parts = (("no longer claims", gone), ("now claims", added))
    return "; ".join(f"{word} {', '.join(dict.fromkeys(names))}" for word, names in parts if names)


def undefined(old: Side, new: Side) -> str:
    """A claimed measurement that had a value and has none now; empty if there is none."""
    before, after = (judged(side.case.result.subject.measurements) for side in (old, new))
    lost = [n for n, m in before.items() if m.value is not None and n in after and after[n].value is None]
    return lost[0][0] if lost else ""


def _ended_early(arm: ArmResult) -> bool:
    """Whether a body stopped before it had claimed all that it claims."""
    needs = any(m.needed and m.bound_status is not BoundStatus.HOLDS for m in arm.measurements)
    return needs or not judged(arm.measurements) or arm.reason.startswith("asserted: ")


Name = tuple[str, int]
"""A measurement's name, and how many of that name came before it."""


def _numbered(measurements: Iterable[Measurement]) -> dict[Name, Measurement]:
    """The measurements by name; one name can be used again and again."""
    found: dict[Name, Measurement] = {}
    count: Counter[str] = Counter()
    for m in measurements:
        found[m.name, count[m.name]] = m
        count[m.name] += 1
    return found


def judged(measurements: Iterable[Measurement]) -> dict[Name, Measurement]:
    """The measurements that carry the claim."""
    return {n: m for n, m in _numbered(measurements).items() if m.claimed}


def _bound(m: Measurement) -> str:
    bounds = [f"{sign} {bound!r}" for sign, bound in ((">", m.above), ("<", m.below)) if bound is not None]
    limit = f", controls {m.null!r}" if m.null is not None else ""
    return ("at least " if m.needed else "") + (" and ".join(bounds) or "nothing") + limit


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) or "nothing"


def _names(found: Mapping[str, object]) -> str:
    return ", ".join(found) or "none"
