"""The exact command that runs a trial again: one case of it on one model, with its control arms."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.baseline.comparison import State
from pytest_unineuron.evidence.criteria import GT2
from pytest_unineuron.evidence.outcome import EXPECTED_TO_FAIL, Outcome
from pytest_unineuron.options import settings as declared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_unineuron.baseline.comparison import Comparison
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, SubjectRecord, TrialRecord


@dataclass(frozen=True)
class Failing:
    """One case to be run again. ``kind`` is ``regressed``, ERROR or FAIL; ``nodeid`` is the item to blame."""

    record: TrialRecord
    subject: SubjectRecord
    case: CaseRecord
    kind: str
    reason: str
    nodeid: str

    @property
    def name(self) -> str:
        """``heavy_tails[news] on neox-a``."""
        variant = f" {self.case.variant}" if self.case.variant else ""
        return f"{self.record.name}{variant} on {self.subject.model}"

    def command(self, evidence: Evidence) -> str:
        """What to type."""
        return command(evidence, self.record, self.subject, self.case)


def failing(evidence: Evidence, comparison: Comparison | None = None) -> list[Failing]:
    """Every case that regressed, then those that broke or whose control did, then those that miss their bound.

    A case is there once. What is expected to fail is left out; what fails its test is not, even where a control makes
    it VACUOUS.
    """
    strict = evidence.settings.get("fail_on") == "trial"
    regressed = {
        (entry.name, entry.model, entry.variant): entry.reason
        for entry in (comparison.of(State.REGRESSED) if comparison else ())
    }
    found: dict[str, list[Failing]] = {str(State.REGRESSED): [], str(Outcome.ERROR): [], str(Outcome.FAIL): []}
    for record in evidence.trials:
        for subject in record.subjects:
            for case in subject.cases:
                kind, reason, arm = _failed(case, strict=strict)
                if why := regressed.get((record.name, subject.model, case.variant)):
                    kind, reason = str(State.REGRESSED), why
                if kind:
                    found[kind].append(Failing(record, subject, case, kind, reason, arm.nodeid))
    return [each for kind in found.values() for each in kind]


def _failed(case: CaseRecord, *, strict: bool) -> tuple[str, str, ArmResult]:
    """How a case failed, why, and the arm to blame; an empty word if it did not."""
    own = case.result.subject
    broken = {name: arm for name, arm in case.result.arms.items() if arm.outcome is Outcome.ERROR}
    if broken and case.outcome is not Outcome.ERROR:
        name, arm = next(iter(broken.items()))
        return str(Outcome.ERROR), f"control {name} broke: {arm.reason}", arm
    if case.outcome is Outcome.ERROR or (case.outcome is Outcome.FAIL and EXPECTED_TO_FAIL not in own.notes):
        return str(case.outcome), case.reason, own
    if strict and own.outcome is Outcome.FAIL and EXPECTED_TO_FAIL not in own.notes:
        return str(own.outcome), f"{own.reason}; {case.outcome}: {case.reason}", own
    return "", "", own


def command(evidence: Evidence, record: TrialRecord, subject: SubjectRecord, case: CaseRecord) -> str:
    """One line for a POSIX shell, or PowerShell, in the folder where pytest was started.

    A case of a parametrized trial is named by the node ids of all its arms; any other by its function, its model
    and its corpus. Every setting that a measurement depends on and that is not at its default is spelled out, also
    where it came from the environment or an ini file.
    """
    settings = dict(evidence.settings)
    arms = [case.result.subject, *case.result.arms.values()]
    if case.variant:
        items = [arm.nodeid for arm in arms]
    else:
        items = [_function(arms[0].nodeid)]
        asked = evidence.asked.get("models", ())
        settings["model"] = [_typed(subject.model, asked, settings.get("model", ()), evidence.models)]
        if record.corpus and record.trial.criterion == GT2.id:
            asked = evidence.asked.get("corpora", ())[1:]  # the first is the reference
            settings["corpus"] = [_typed(record.corpus, asked, settings.get("corpus", ()), evidence.corpora)]
    root = str(evidence.asked.get("root", ""))
    typed = [*(_below(root, item) for item in items), *_options(settings)]
    return " ".join(["pytest", *map(shlex.quote, typed)])


def _function(nodeid: str) -> str:
    path, colons, names = nodeid.partition("::")
    return path + colons + names.partition("[")[0]


def _below(root: str, nodeid: str) -> str:
    """A node id, whose path begins in pytest's root folder, as it is typed where pytest was started."""
    path, colons, names = nodeid.partition("::")
    return posixpath.normpath(posixpath.join(root, path)) + colons + names


def _typed(label: str, labels: Sequence[str], specs: Sequence[str], facts: Mapping[str, Any]) -> str:
    """What was typed for a model or corpus: labels were made of specs one by one, else the report may know."""
    made = dict(zip(labels, specs, strict=True)) if len(labels) == len(specs) else {}
    return str(made.get(label) or facts.get(label, {}).get("spec") or label)


def _options(settings: dict[str, object]) -> Iterator[str]:
    for option in declared.OPTIONS:
        value = settings.get(option.setting, option.default)
        plain = tuple(value) if isinstance(value, list) else value
        if option.affects is declared.Affects.NOTHING or plain == option.default:
            continue
        if isinstance(plain, tuple):
            yield from (f"{option.flag}={each}" for each in plain)
        else:
            yield option.flag if plain is True else f"{option.flag}={plain}"
