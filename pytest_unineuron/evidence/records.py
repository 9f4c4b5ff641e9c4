"""The evidence of a run: one value from which every report is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.outcome import DESELECTED, NOT_APPLICABLE, ArmResult, CaseResult, Outcome, worst_outcome
from pytest_unineuron.evidence.verdict import (
    JudgedTrial,
    Support,
    Verdict,
    criterion_verdict,
    deciding_trials,
    overall_verdict,
    support_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.evidence.distribution import Distribution
    from pytest_unineuron.evidence.layer_table import LayerTable
    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.trial import Trial

SCHEMA_VERSION = 6
SEEDS = "further seeds"
"""The name of the minimum by which a trial says how many seeds it compared the model with."""


@dataclass(frozen=True)
class CaseRecord:
    """One case of a trial on one model. ``variant`` distinguishes the cases of one trial."""

    variant: str
    result: CaseResult
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class SubjectRecord:
    """One trial on one model."""

    model: str
    cases: tuple[CaseRecord, ...]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the trial on this model: the worst of its cases."""
        return worst_outcome(case.outcome for case in self.cases)

    @property
    def not_applicable(self) -> str:
        """The reason why the trial does not apply to the model; empty if it does."""
        arms = [case.result.subject for case in self.cases]
        return arms[0].reason if all(NOT_APPLICABLE in arm.notes for arm in arms) else ""

    @property
    def p_value(self) -> float | None:
        """The p-value of the whole trial: the largest of its cases, as every case has to hold."""
        return max((case.result.p_value for case in self.cases if case.result.p_value is not None), default=None)

    @property
    def reason(self) -> str:
        """The reason of the first case with the outcome of the trial."""
        return next(case.reason for case in self.cases if case.outcome is self.outcome)


@dataclass(frozen=True)
class TrialRecord:
    """One trial on one corpus, on every model it was planned for, and the place of its function."""

    trial: Trial
    corpus: str
    subjects: tuple[SubjectRecord, ...]
    path: str = ""
    line: int = 0
    code: str = ""

    @property
    def name(self) -> str:
        """The trial's id with the corpus, if there is one: ``heavy_tails_replicate[news]``."""
        return f"{self.trial.id}[{self.corpus}]" if self.corpus else self.trial.id

    def on(self, model: str) -> SubjectRecord | None:
        """The record on one model; None if the trial was not planned for it."""
        return next((subject for subject in self.subjects if subject.model == model), None)


@dataclass(frozen=True)
class RecordedCase:
    """One case, with the trial and the model that it belongs to. All forms of the report count cases."""

    record: TrialRecord
    subject: SubjectRecord
    case: CaseRecord

    @property
    def name(self) -> str:
        """The name for people: ``heavy_tails[news] on neox-a``."""
        return case_name(self.record.name, self.case.variant, self.subject.model)

    @property
    def label(self) -> str:
        """The name without the model: ``heavy_tails[news]``, and the variant of its parameters if it has any."""
        return case_name(self.record.name, self.case.variant)

    @property
    def nodeid(self) -> str:
        """The node id of the subject arm."""
        return self.case.result.subject.nodeid

    @property
    def arms(self) -> list[ArmResult]:
        """The results of all arms, the subject first."""
        return [self.case.result.subject, *self.case.result.arms.values()]


def case_name(trial: str, variant: str, model: str = "") -> str:
    """The name of a case for people: trial, variant of its parameters if it has any, and model if one is given."""
    return f"{trial}{' ' + variant if variant else ''}{' on ' + model if model else ''}"


@dataclass(frozen=True)
class CriterionRecord:
    """One line of the checklist: the verdict on every model, and over all of them."""

    id: str
    verdicts: Mapping[str, Verdict]
    basis: Mapping[str, str]
    """What the verdict on each model rests on, in words."""

    @property
    def verdict(self) -> Verdict:
        """The verdict over all models."""
        return overall_verdict(self.verdicts.values())


@dataclass(frozen=True)
class Evidence:
    """The evidence of a run. Terminal, JSON, Markdown and exit status are functions of it and of nothing else.

    ``asked`` holds the paths, models and corpora that the run was given, from which a later reader tells what was left
    out on purpose. ``created`` is the end of the run, in UTC. ``violations`` names what changed since it was locked;
    with any, no criterion passes. ``controls`` says in words what each control keeps.
    ``cache_hits`` are results that were read from the cache, ``cache_notes`` remarks on it. ``incomplete`` names lost
    results. ``distributions`` are quantiles of what trials read, and ``tables`` have rows for the layers of it.
    """

    trials: tuple[TrialRecord, ...]
    policy: str
    accept_vacuous: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    corpora: Mapping[str, Any] = field(default_factory=dict)
    forward_passes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    controls: Mapping[str, str] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()
    findings: Mapping[str, Any] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    violations: tuple[str, ...] = ()
    cache_hits: tuple[Mapping[str, Any], ...] = ()
    cache_notes: tuple[str, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    tables: tuple[LayerTable, ...] = ()

    @property
    def rule(self) -> str:
        """The policy in words, and whether vacuous trials count."""
        return f"{self.policy}; vacuous trials count" if self.accept_vacuous else self.policy

    @property
    def part(self) -> str:
        """The items of a suite that a run of a part of it lacks, in words; empty for a whole run."""
        not_run = [arm.reason == DESELECTED.reason for arm in self.arms if arm.outcome is Outcome.NOT_RUN]
        counts = {"deselected": sum(not_run), "never reached": not_run.count(False), "lost": len(self.incomplete)}
        chosen = [path for path in self.asked.get("paths", ()) if "::" in path]
        words = [f"items {what}: {count}" for what, count in counts.items() if count]
        words += [f"{', '.join(part)} left items out" for part in [self.asked.get("part")] if part]
        return "; ".join(words or [f"only {', '.join(chosen)} ran"] * bool(chosen))

    @property
    def subjects(self) -> list[str]:
        """The models under test, in the order in which they were planned."""
        return list(dict.fromkeys(s.model for record in self.trials for s in record.subjects))

    @property
    def criteria(self) -> list[CriterionRecord]:
        """The checklist; a criterion without trials is NA."""
        return [
            CriterionRecord(
                id_,
                {model: self.verdict_on(id_, model) for model in self.asked_of(id_)},
                {model: self.basis_of(id_, model) for model in self.asked_of(id_)},
            )
            for id_ in CRITERIA
        ]

    def asked_of(self, criterion: str) -> list[str]:
        """The models for which trials of one criterion were planned."""
        return [model for model in self.subjects if self._on_model(criterion, model)]

    def of_criterion(self, criterion: str) -> list[TrialRecord]:
        """The trials of one criterion."""
        return [record for record in self.trials if record.trial.criterion == criterion]

    def verdict_on(self, criterion: str, model: str) -> Verdict:
        """The verdict on one criterion for one model, under the run's policy."""
        found = criterion_verdict(self._judged(criterion, model), self.policy)
        return Verdict.NA if self.violations and found is Verdict.PASS else found

    def support_on(self, criterion: str, model: str) -> Support | None:
        """What the verdict on one criterion for one model rests on; None for NA."""
        if self.verdict_on(criterion, model) is Verdict.NA:
            return None
        return support_of(self._judged(criterion, model), self.policy)

    def basis_of(self, criterion: str, model: str) -> str:
        """What the verdict on one criterion for one model rests on, in words; empty for NA.

        A reader of a PASS learns here whether seeds were compared, and how many.
        """
        support = self.support_on(criterion, model)
        subjects = self._on_model(criterion, model)
        if support is Support.DIRECT:
            seeds = {m.value for _, subject in subjects for m in _needed(subject) if m.name == SEEDS}
            return "direct, from one pair of seeds" if seeds == {1} else "direct"
        if support is None:
            return ""
        direct = [(record.trial.primary, s.not_applicable) for record, s in subjects if record.trial.direct]
        untested = [(not primary, reason) for primary, reason in direct if reason]
        why = f": {min(untested)[1].partition(';')[0]}" if untested else ""
        return f"signature, universality not tested{why}"

    def deciding(self, criterion: str, model: str) -> list[tuple[TrialRecord, SubjectRecord]]:
        """The trials that decide one criterion for one model, under the run's policy."""
        judged = self._judged(criterion, model)
        chosen = {id(trial) for trial in deciding_trials(judged, self.policy)}
        pairs = zip(self._on_model(criterion, model), judged, strict=True)
        return [pair for pair, trial in pairs if id(trial) in chosen]

    def _judged(self, criterion: str, model: str) -> list[JudgedTrial]:
        return [
            JudgedTrial(subject.outcome, record.trial.primary, record.trial.direct, not subject.not_applicable)
            for record, subject in self._on_model(criterion, model)
        ]

    def _on_model(self, criterion: str, model: str) -> list[tuple[TrialRecord, SubjectRecord]]:
        """The trials of one criterion that were planned for a model, with what they came to."""
        on_model = [(record, record.on(model)) for record in self.of_criterion(criterion)]
        return [(record, subject) for record, subject in on_model if subject is not None]

    @property
    def cases(self) -> Iterator[RecordedCase]:
        """Every case of every trial on every model."""
        for record in self.trials:
            for subject in record.subjects:
                yield from (RecordedCase(record, subject, case) for case in subject.cases)

    def cases_of(self, criterion: str) -> list[RecordedCase]:
        """Every case of the trials of one criterion."""
        return [each for each in self.cases if each.record.trial.criterion == criterion]

    @property
    def subject_arms(self) -> Iterator[ArmResult]:
        """The subject arm of every case."""
        yield from (each.case.result.subject for each in self.cases)

    @property
    def arms(self) -> Iterator[ArmResult]:
        """Every arm of every case."""
        for each in self.cases:
            yield from each.arms

    def count(self, outcome: Outcome) -> int:
        """The number of cases with this outcome that apply to their model."""
        return sum(each.case.outcome is outcome and not each.subject.not_applicable for each in self.cases)

    @property
    def n_not_applicable(self) -> int:
        """The number of cases that do not apply to their model."""
        return sum(bool(each.subject.not_applicable) for each in self.cases)


def _needed(subject: SubjectRecord) -> Iterator[Measurement]:
    """The minimums that a trial on one model measured."""
    yield from (m for case in subject.cases for m in case.result.subject.measurements if m.needed)
