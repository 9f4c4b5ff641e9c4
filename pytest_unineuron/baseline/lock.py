"""A lock: what a claim is bound to before it is tested, such as bounds, settings, and digests of models and texts.

A lock is made by a run of the control arms alone: these have the bounds of the claim, and nothing is known yet of the
models that the claim is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import OptionError, ReportError
from pytest_unineuron.evidence import strict_json
from pytest_unineuron.evidence.case import SUBJECT
from pytest_unineuron.evidence.measurement import BOUND_FIELDS, bounds_of, exact_bounds
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.evidence.versions import SOURCE
from pytest_unineuron.options.settings import binding_settings
from pytest_unineuron.options.sources import checked_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, RecordedCase

LOCK_VERSION = 3
LOCK_HINT = "make one: pytest-unineuron lock FILE evals/"
NO_ANSWER = (Outcome.NOT_RUN, Outcome.NA)
"""Outcomes of a case that needs no lock, since it neither supports nor refutes the claim."""


@dataclass(frozen=True)
class Lock:
    """The locked settings, the locked cases by name as plain data, and the digest of this package's source."""

    settings: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Any]]
    package: str

    @classmethod
    def of(cls, evidence: Evidence) -> Lock:
        """The lock that a run of control arms makes."""
        settings = {name: evidence.settings[name] for name in binding_settings()}
        cases = {each.name: _locked_data(each) for each in evidence.cases if _has_control(each.case)}
        return cls(settings, cases, evidence.versions[SOURCE])

    @staticmethod
    def reason_unfit(evidence: Evidence) -> str:
        """The reason why a run of control arms cannot be locked; empty if it can."""
        if broken := [arm for arm in evidence.arms if arm.outcome is Outcome.ERROR]:
            return f"{len(broken)} control arms broke ({broken[0].reason})"
        controlled = [each for each in evidence.cases if _has_control(each.case)]
        if not controlled:
            return "no control arm ran"
        unknown = [each.name for each in controlled if not _made_from(each.case)]
        return f"it is not known what {unknown[0]} is made from" if unknown else ""

    @classmethod
    def read(cls, path: Path) -> Lock:
        """The lock in a file. Raises ReportError for a file that is missing, damaged or of another version."""
        data = strict_json.read_json(path, "lock", LOCK_HINT)
        if "lock_version" not in data:
            raise ReportError(f"lock {path}: has no lock_version, so it is no lock; {LOCK_HINT}")
        if data["lock_version"] != LOCK_VERSION:
            raise ReportError(
                f"lock {path}: is of version {data['lock_version']}, this one reads {LOCK_VERSION}; use the "
                "version of pytest-unineuron that locked the claim"
            )
        content = strict_json.verify_digest(data, f"lock {path}", "lock the claim again, before it is tested")
        import fastjsonschema

        try:
            fastjsonschema.validate(_schema(), content)
            settings = checked_settings(content["settings"])
        except fastjsonschema.JsonSchemaValueException as error:
            raise ReportError(f"lock {path}: {error.message}; {LOCK_HINT}") from None
        except OptionError as error:
            raise ReportError(f"lock {path}: {error}; {LOCK_HINT}") from None
        return cls(settings, content["cases"], content["package"])

    def as_dict(self) -> dict[str, Any]:
        """The lock as plain JSON data, without its digest."""
        return {
            "lock_version": LOCK_VERSION,
            "package": self.package,
            "settings": dict(self.settings),
            "cases": dict(self.cases),
        }

    def violations(self, evidence: Evidence) -> tuple[str, ...]:
        """A sentence for each difference between a run and what was locked; cases with the same one share it."""
        names_by_difference: dict[str, list[str]] = {}
        for name, difference in self._differences(evidence):
            names_by_difference.setdefault(difference, []).append(name)
        return tuple(_prefix(names) + difference for difference, names in names_by_difference.items())

    def _differences(self, evidence: Evidence) -> Iterator[tuple[str, str]]:
        """Pairs of the name of a case, empty for the whole run, and what differs."""
        if self.package != evidence.versions.get(SOURCE):
            yield "", "the source of pytest-unineuron, which measures and judges, is not what it was"
        for name, locked in self.settings.items():
            if locked != (found := evidence.settings.get(name)):
                yield "", f"--unineuron-{name.replace('_', '-')} was locked at {locked} and is {found}"
        present = {each.name: each for each in evidence.cases}
        for name, case in self.cases.items():
            if name not in present:
                yield name, "locked, but missing from this run: renamed, removed, or not selected"
            else:
                yield from ((name, difference) for difference in _case_differences(case, present[name]))
        for name, each in present.items():
            if name not in self.cases and each.case.outcome not in NO_ANSWER:
                yield name, "in this run, but not in the lock"


def _schema() -> dict[str, Any]:
    """The JSON Schema of the content of a lock."""
    number, boolean = {"type": ["number", "null"]}, {"type": "boolean"}
    bound = {
        "type": "object",
        "required": list(BOUND_FIELDS),
        "additionalProperties": False,
        "properties": {**dict.fromkeys(BOUND_FIELDS, number), "needed": boolean},
    }
    case = {
        "type": "object",
        "required": [*Trial.__dataclass_fields__, "code", "arms", "made_from", "bounds"],
        "properties": {
            "arms": {"type": "array", "items": {"type": "string"}},
            "made_from": {"type": "object", "additionalProperties": {"type": "object"}},
            "bounds": {"type": "object", "additionalProperties": {"type": "array", "items": bound}},
        },
    }
    settings = {
        "type": "object",
        "required": binding_settings(),
        "propertyNames": {"enum": binding_settings()},
    }
    return {
        "type": "object",
        "required": ["package", "settings", "cases"],
        "properties": {
            "package": {"type": "string"},
            "settings": settings,
            "cases": {"type": "object", "additionalProperties": case},
        },
    }


def _locked_data(each: RecordedCase) -> dict[str, Any]:
    """The locked data of one case. A bound that no control came to measure is locked by the digest of the source."""
    controls = each.case.result.arms
    return {
        **each.record.trial.as_dict(),
        "code": each.record.code,
        "arms": [SUBJECT, *controls],
        "made_from": _made_from(each.case),
        "bounds": _bounds_by_name(controls.values()),
    }


def _has_control(case: CaseRecord) -> bool:
    """Whether a control arm of the case ran; a case that was deselected, or has no controls, is not locked."""
    return any(arm.outcome is not Outcome.NOT_RUN for arm in case.result.arms.values())


def _made_from(case: CaseRecord) -> Mapping[str, Mapping[str, str]]:
    return next((arm.made_from for arm in case.result.arms.values() if arm.made_from), {})


def _bounds_by_name(arms: Iterable[ArmResult]) -> dict[str, list[dict[str, Any]]]:
    """The different bounds of the measurements of each name, which a trial can use several times."""
    found: dict[str, list[dict[str, Any]]] = {}
    for m in (m for arm in arms for m in arm.measurements if m.needed or m.claimed):
        if bounds_of(m) not in found.setdefault(m.name, []):
            found[m.name].append(bounds_of(m))
    return found


def _prefix(names: list[str]) -> str:
    """The cases of a difference: ``heavy_tails[news] on neox-a and 3 more: ``; empty for the whole run."""
    if not names[0]:
        return ""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") + ": "


def _case_differences(locked: Mapping[str, Any], each: RecordedCase) -> Iterator[str]:
    """The differences of one case; what a reader can judge comes before the digest of the source."""
    subject = each.case.result.subject
    if subject.outcome in (Outcome.NOT_RUN, Outcome.ERROR):
        yield f"locked, and did not come to its end ({subject.reason})"
        return
    yield from _bound_differences(locked["bounds"], subject)
    declared = each.record.trial.as_dict()
    for field in ("criterion", "primary", "controls", "claim", "source"):
        if locked[field] != declared[field]:
            yield f"{field} was locked as {locked[field]!r} and is {declared[field]!r}"
    arms = [SUBJECT, *each.case.result.arms]
    if set(locked["arms"]) != set(arms):
        yield f"arms were locked as {', '.join(locked['arms'])} and are {', '.join(arms)}"
    if locked["code"] != each.record.code:
        yield f"the source ({each.record.path}, a conftest, or what these import) changed since it was locked"
    for kind, digests in locked["made_from"].items():
        found = subject.made_from.get(kind, {})
        for label in dict.fromkeys([*digests, *found]):
            if digests.get(label) != found.get(label):
                yield f"{label} has other content than when it was locked ({kind})"


def _bound_differences(locked: Mapping[str, Any], subject: ArmResult) -> Iterator[str]:
    for m in subject.measurements:
        bounds = locked.get(m.name)
        if (m.needed or m.claimed) and bounds is not None and bounds_of(m) not in bounds:
            before = " or ".join(exact_bounds(**each) for each in bounds)
            yield f"the bound of {m.name!r} was locked at {before} and is {exact_bounds(**bounds_of(m))}"
