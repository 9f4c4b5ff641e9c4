"""Whether two runs asked the same question of a case: what was left out on purpose, and what makes it another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.evidence.measurement import BoundStatus, bounds_of, exact_bounds, measurements_by_key
from pytest_unineuron.evidence.outcome import DESELECTED, Outcome
from pytest_unineuron.options.settings import (
    ACROSS_CORPUS,
    ACROSS_WEIGHTS,
    DEFAULT_MODELS,
    Affects,
    settings_affecting,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_unineuron.evidence.measurement import Measurement, MeasurementKey
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import Evidence, RecordedCase


CaseKey = tuple[str, str, str, str]
"""Trial id, corpus, model and variant: what identifies a case, whatever file its function is in."""


def reason_left_out(key: CaseKey, nodeid: str, now: Evidence) -> str:
    """The reason why a case of the baseline was not asked for; empty if it was."""
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


def other_labels(before: Iterable[CaseKey], after: Iterable[CaseKey], now: Evidence) -> str:
    """The labels of both runs and the option that maps one to the other, if they share no model or no corpus."""
    typed = dict(zip(now.asked.get("models", ()), now.settings.get("model") or DEFAULT_MODELS, strict=False))
    new_data = now.asked.get("corpora", ())[1:]  # the first is the reference
    typed |= zip(new_data, now.settings.get("corpus", ()), strict=False)
    for kind, at in (("model", 2), ("corpus", 1)):
        old, new = (list(dict.fromkeys(key[at] for key in keys if key[at])) for keys in (before, after))
        if old and new and not set(old) & set(new):
            return (
                f"the {kind} is {', '.join(old)} in the baseline and {', '.join(new)} in this run; if they are the "
                f"same, say --unineuron-label={old[0]}={typed.get(new[0], new[0])}"
            )
    return ""


def reason_incomparable(
    old: RecordedCase, new: RecordedCase, was: Evidence, now: Evidence, across: frozenset[str]
) -> str:
    """The first difference that makes a case of the run ``now`` another question than in ``was``; empty if none does.

    ``across`` names what may differ: the weights of models, the text of corpora.
    """
    for name in _shared_settings():
        if (one := was.settings.get(name)) != (other := now.settings.get(name)):
            return f"{name.replace('_', '-')} was {_format_setting(one)} and is {_format_setting(other)}"
    differences = (*_other_declaration(old, new), *_other_inputs(old, new, across), *_other_bounds(old, new))
    return next(iter(differences), "")


def _shared_settings() -> list[str]:
    """The settings that two runs have to share; which controls ran is compared arm by arm."""
    names = settings_affecting(Affects.TEXT, Affects.ACTIVATIONS, Affects.COMPARISON, Affects.VERDICT)
    return [name for name in names if name != "controls"]


def _other_declaration(old: RecordedCase, new: RecordedCase) -> Iterator[str]:
    """Differences in the controls, in whether the trial is primary, and in its criterion."""
    controls, other_controls = _selected_controls(old), _selected_controls(new)
    if set(controls) != set(other_controls):
        yield f"its controls were {_format_names(controls)} and are {_format_names(other_controls)}"
    trial, other = old.record.trial, new.record.trial
    if trial.primary != other.primary:
        yield "it was primary and is not" if trial.primary else "it was not primary and is"
    if trial.criterion != other.criterion:
        yield f"it was marked {trial.criterion} and is marked {other.criterion}"


def _selected_controls(recorded: RecordedCase) -> list[str]:
    """The control arms of a case without those that were deselected."""
    return [name for name, arm in recorded.case.result.arms.items() if arm.reason != DESELECTED.reason]


def _other_inputs(old: RecordedCase, new: RecordedCase, across: frozenset[str]) -> Iterator[str]:
    """Differences in the models and texts that were read, by content."""
    if Outcome.ERROR in (old.case.outcome, new.case.outcome):
        return  # a case that broke may not know all of its inputs
    for kind, word, option in (
        ("models", "weights or configuration", ACROSS_WEIGHTS),
        ("corpora", "text", ACROSS_CORPUS),
    ):
        before, after = (each.case.result.subject.made_from.get(kind) for each in (old, new))
        if before == after:
            continue
        if not before or not after:
            yield f"the {kind} that it read were not recorded"
        elif before.keys() != after.keys():
            yield f"{kind} were {_format_names(before)} and are {_format_names(after)}"
        elif option not in across:
            changed = ", ".join(label for label in before if before[label] != after[label])
            yield f"other {word}: {changed} (--unineuron-across={option} compares nevertheless)"


def _other_bounds(old: RecordedCase, new: RecordedCase) -> Iterator[str]:
    before, after = (measurements_by_key(each.case.result.subject.measurements) for each in (old, new))
    for key in before:
        if key in after and (was := _format_bounds(before[key])) != (now := _format_bounds(after[key])):
            yield f"{key[0]} was claimed to be {was}, now {now}"


def changed_claims(old: RecordedCase, new: RecordedCase) -> str:
    """The claims and minima that are gone or new; empty if there are none. A body that ended early claims less."""
    before, after = (
        {
            key: m
            for key, m in measurements_by_key(each.case.result.subject.measurements).items()
            if m.needed or m.claimed
        }
        for each in (old, new)
    )
    gone = [key[0] for key in before if key not in after]
    added = [] if _ended_early(old.case.result.subject) else [key[0] for key in after if key not in before]
    parts = (("no longer claims", gone), ("now claims", added))
    return "; ".join(f"{words} {', '.join(dict.fromkeys(names))}" for words, names in parts if names)


def newly_undefined(old: RecordedCase, new: RecordedCase) -> str:
    """The first claimed measurement that had a value and has none now; empty if there is none."""
    before, after = (claims_by_key(each.case.result.subject.measurements) for each in (old, new))
    lost = [key for key, m in before.items() if m.value is not None and key in after and after[key].value is None]
    return lost[0][0] if lost else ""


def _ended_early(arm: ArmResult) -> bool:
    """Whether the body of a trial stopped before it had made all its claims."""
    too_little = any(m.needed and m.bound_status is not BoundStatus.HOLDS for m in arm.measurements)
    return too_little or not claims_by_key(arm.measurements) or arm.reason.startswith("asserted: ")


def claims_by_key(measurements: Iterable[Measurement]) -> dict[MeasurementKey, Measurement]:
    """The measurements that are part of the claim, by name and number."""
    return {key: m for key, m in measurements_by_key(measurements).items() if m.claimed}


def _format_bounds(m: Measurement) -> str:
    return exact_bounds(**bounds_of(m))


def _format_setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) or "nothing"


def _format_names(found: Iterable[str]) -> str:
    return ", ".join(found) or "none"
