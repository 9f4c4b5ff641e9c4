"""What a claim was bound to before it was tested: trials, bounds, policy, seeds, and digests of models and texts.

A lock is made of a run of the control arms alone: these measure with the very bounds of the claim, and nothing
is known yet of the models the claim is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import OptionError, ReportError
from pytest_unineuron.evidence import strict_json
from pytest_unineuron.evidence.case import SUBJECT
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.evidence.versions import SOURCE
from pytest_unineuron.options.settings import binding_settings
from pytest_unineuron.options.sources import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, TrialRecord

VERSION = 2
SILENT = (Outcome.NOT_RUN, Outcome.NA)
"""Outcomes of a case that says nothing, locked or not."""
BOUNDS = ("above", "below", "null", "needed")
NUMBER = {"type": ["number", "null"]}
BOUND = {
    "type": "object",
    "required": list(BOUNDS),
    "properties": {"above": NUMBER, "below": NUMBER, "null": NUMBER, "needed": {"type": "boolean"}},
}
STRINGS = {"type": "array", "items": {"type": "string"}}
AGAIN = "make one: pytest-unineuron lock FILE evals/"


@dataclass(frozen=True)
class Lock:
    """What was locked, as plain data: ``settings``, ``trials`` and ``versions``."""

    settings: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Any]]
    package: str

    @classmethod
    def of(cls, evidence: Evidence) -> Lock:
        """The lock that a run of control arms makes."""
        settings = {name: evidence.settings[name] for name in binding_settings()}
        cases = {name: _locked(record, case) for name, record, case in _cases(evidence) if _controlled(case)}
        return cls(settings, cases, evidence.versions[SOURCE])

    @staticmethod
    def unfit(evidence: Evidence) -> str:
        """Why a run of control arms cannot be locked; empty if it can."""
        if broken := [arm for arm in evidence.arms if arm.outcome is Outcome.ERROR]:
            return f"{len(broken)} control arms broke ({broken[0].reason})"
        controlled = [(name, case) for name, _, case in _cases(evidence) if _controlled(case)]
        if not controlled:
            return "no control arm ran"
        unknown = [name for name, case in controlled if not _made_from(case)]
        return f"it cannot be told what {unknown[0]} is made from" if unknown else ""

    @classmethod
    def read(cls, path: Path) -> Lock:
        """The lock in a file. Raises ReportError for one that is not there, not whole, or of another version."""
        data = strict_json.read_json(path, "lock", AGAIN)
        if data.get("lock_version") != VERSION:
            raise ReportError(
                f"lock {path}: is of version {data.get('lock_version')}, this one reads {VERSION}; use the version of "
                "pytest-unineuron that locked the claim"
            )
        content = strict_json.verify_digest(data, f"lock {path}", "lock the claim anew, before it is tested")
        import fastjsonschema

        try:
            fastjsonschema.validate(_schema(), content)
        except fastjsonschema.JsonSchemaValueException as error:
            raise ReportError(f"lock {path}: {error.message}; {AGAIN}") from None
        try:
            settings = checked(content["settings"])
        except OptionError as error:
            raise ReportError(f"lock {path}: {error}; {AGAIN}") from None
        return cls(settings, content["cases"], content["package"])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, to be sealed."""
        return {
            "lock_version": VERSION,
            "package": self.package,
            "settings": dict(self.settings),
            "cases": dict(self.cases),
        }

    def violations(self, evidence: Evidence) -> tuple[str, ...]:
        """What a run has that is not what was locked, in words; the same of several trials in one sentence."""
        of: dict[str, list[str]] = {}
        for name, what in self._moved(evidence):
            of.setdefault(what, []).append(name)
        return tuple(_of(names) + what for what, names in of.items())

    def _moved(self, evidence: Evidence) -> Iterator[tuple[str, str]]:
        if self.package != evidence.versions.get(SOURCE):
            yield "", "the source of pytest-unineuron, which measures and judges, is not what it was"
        for name, locked in self.settings.items():
            if locked != (found := evidence.settings.get(name)):
                yield "", f"--unineuron-{name.replace('_', '-')} was locked at {locked} and is {found}"
        there = {name: (record, case) for name, record, case in _cases(evidence)}
        for name, case in self.cases.items():
            if name not in there:
                yield name, "locked, and not there: renamed, removed, or not asked for"
            else:
                yield from ((name, what) for what in _moved(case, *there[name]))
        added = [name for name, (_, case) in there.items() if name not in self.cases and case.outcome not in SILENT]
        yield from ((name, "there, and not locked") for name in added)


def _schema() -> dict[str, Any]:
    """The JSON Schema of what a lock holds."""
    return {
        "type": "object",
        "required": ["package", "settings", "cases"],
        "properties": {
            "package": {"type": "string"},
            "settings": {
                "type": "object",
                "required": binding_settings(),
                "propertyNames": {"enum": binding_settings()},
            },
            "cases": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": [*Trial.__dataclass_fields__, "code", "arms", "made_from", "bounds"],
                    "properties": {
                        "arms": STRINGS,
                        "made_from": {"type": "object", "additionalProperties": {"type": "object"}},
                        "bounds": {"type": "object", "additionalProperties": {"type": "array", "items": BOUND}},
                    },
                },
            },
        },
    }


def _cases(evidence: Evidence) -> Iterator[tuple[str, TrialRecord, CaseRecord]]:
    for record in evidence.trials:
        for subject in record.subjects:
            for case in subject.cases:
                variant = f" {case.variant}" if case.variant else ""
                yield f"{record.name}{variant} on {subject.model}", record, case


def _locked(record: TrialRecord, case: CaseRecord) -> dict[str, Any]:
    """What is locked of one case. Bounds that no control came to measure are held by the digest of the source."""
    arms = case.result.arms.values()
    return {
        **record.trial.as_dict(),
        "code": record.code,
        "arms": [SUBJECT, *case.result.arms],
        "made_from": _made_from(case),
        "bounds": _bounds_by_name(arms),
    }


def _controlled(case: CaseRecord) -> bool:
    """Whether a control arm of it ran: what was deselected, or has no controls, is no part of the claim."""
    return any(arm.outcome is not Outcome.NOT_RUN for arm in case.result.arms.values())


def _made_from(case: CaseRecord) -> Mapping[str, Mapping[str, str]]:
    return next((arm.made_from for arm in case.result.arms.values() if arm.made_from), {})


def _bounds_by_name(arms: Iterable[ArmResult]) -> dict[str, list[dict[str, Any]]]:
    """The bounds that measurements of a name have; one name can be used again with another bound."""
    found: dict[str, list[dict[str, Any]]] = {}
    for m in (m for arm in arms for m in arm.measurements if m.needed or m.claimed):
        if _bounds(m) not in found.setdefault(m.name, []):
            found[m.name].append(_bounds(m))
    return found


def _bounds(m: Measurement) -> dict[str, Any]:
    return {name: getattr(m, name) for name in BOUNDS}


def _of(names: list[str]) -> str:
    """Whose it is: ``heavy_tails[news] on neox-a and 3 more: ``."""
    if not names[0]:
        return ""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") + ": "


def _moved(locked: Mapping[str, Any], record: TrialRecord, case: CaseRecord) -> Iterator[str]:
    """What moved of one case; what a reader can judge comes before the digest of the source."""
    subject = case.result.subject
    if subject.outcome in (Outcome.NOT_RUN, Outcome.ERROR):
        yield f"locked, and did not come to its end ({subject.reason})"
        return
    if subject.resumed or any(arm.resumed for arm in case.result.arms.values()):
        yield "taken from an earlier attempt; a locked claim is measured anew"
    for m in subject.measurements:
        was = locked["bounds"].get(m.name)
        if (m.needed or m.claimed) and was is not None and _bounds(m) not in was:
            yield f"the bound of {m.name!r} was locked at {' or '.join(map(_said, was))} and is {_said(_bounds(m))}"
    declared = record.trial.as_dict()
    for word in ("criterion", "primary", "controls", "claim", "source"):
        if locked[word] != declared[word]:
            yield f"{word} was locked as {locked[word]!r} and is {declared[word]!r}"
    if set(locked["arms"]) != {SUBJECT, *(arms := case.result.arms)}:
        yield f"arms were locked as {', '.join(locked['arms'])} and are {', '.join([SUBJECT, *arms])}"
    if locked["code"] != record.code:
        yield f"the source ({record.path}, a conftest, or what these import) changed since it was locked"
    for kind, was in locked["made_from"].items():
        now = subject.made_from.get(kind, {})
        for label in dict.fromkeys([*was, *now]):
            if was.get(label) != now.get(label):
                yield f"{label} has other content than when it was locked ({kind})"


def _said(bounds: Mapping[str, Any]) -> str:
    words = {"above": ">", "below": "<", "null": "controls"}
    return " and ".join(
        f"{word} {format_number(bounds[name])}" for name, word in words.items() if bounds[name] is not None
    )
