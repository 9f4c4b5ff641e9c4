"""Everything a run found out, in one value that every report reads and nothing else."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.case import SUBJECT, Case
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.holm import SIGNIFICANCE_LEVEL, holm_adjust
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import DESELECTED, NEVER_REACHED, ArmResult, CaseResult, Outcome, worst_outcome
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.evidence.verdict import Verdict, criterion_verdict, overall_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SCHEMA_VERSION = 3
SOURCE = "pytest-unineuron source"
"""The name under which versions hold a digest of this package's source, which a version number does not pin."""


@dataclass(frozen=True)
class PlannedItem:
    """One item that was collected: which trial, where, and whether it was selected to run.

    ``line`` is where its function begins, from 1; ``code`` is a digest of all source it is made of.
    """

    nodeid: str
    trial: Trial
    case: Case
    selected: bool = True
    line: int = 0
    code: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the way from a worker to the controller."""
        return {
            "nodeid": self.nodeid,
            "trial": self.trial.as_dict(),
            "case": self.case.as_dict(),
            "selected": self.selected,
            "line": self.line,
            "code": self.code,
        }

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> PlannedItem:
        """What ``as_dict`` wrote."""
        controls = data["trial"]["controls"]
        trial = Trial(**{**data["trial"], "controls": None if controls is None else tuple(controls)})
        return cls(**{**data, "trial": trial, "case": Case(**data["case"])})


@dataclass(frozen=True)
class CaseRecord:
    """One case of a trial on one subject. ``variant`` tells the cases of one trial apart."""

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
        """What the trial comes to on this model."""
        return worst_outcome(case.outcome for case in self.cases)

    @property
    def p(self) -> float | None:
        """The p-value of the trial as a whole: every case has to hold, so it is the largest."""
        return max((case.result.p for case in self.cases if case.result.p is not None), default=None)

    @property
    def reason(self) -> str:
        """The reason of the case that decided."""
        return next(case.reason for case in self.cases if case.outcome is self.outcome)


@dataclass(frozen=True)
class TrialRecord:
    """One trial on one corpus, with every model it was planned for, and where its function stands."""

    trial: Trial
    corpus: str
    subjects: tuple[SubjectRecord, ...]
    path: str = ""
    line: int = 0
    code: str = ""

    @property
    def name(self) -> str:
        """The trial's id, and the corpus where there is one: ``heavy_tails_replicate[news]``."""
        return f"{self.trial.id}[{self.corpus}]" if self.corpus else self.trial.id

    def on(self, model: str) -> SubjectRecord | None:
        """This trial on one model, or None if it was not planned for it."""
        return next((subject for subject in self.subjects if subject.model == model), None)


@dataclass(frozen=True)
class CriterionRecord:
    """One line of the checklist: the verdict on every subject, and over all of them."""

    id: str
    verdicts: Mapping[str, Verdict]

    @property
    def verdict(self) -> Verdict:
        """PASS when every subject that could be evaluated passes."""
        return overall_verdict(self.verdicts.values())


@dataclass(frozen=True)
class Evidence:
    """The whole of a run. Terminal, JSON, Markdown and exit code are functions of this and nothing else.

    ``asked`` has the paths, models and corpora that the run was given, so that a later reader can tell what was
    left out on purpose; ``created`` is the time of its end, in UTC. ``violations`` says what moved since the run
    was locked; with any of them, no criterion passes. ``kept`` are the results that were taken from the cache of
    an earlier run instead of being measured; ``told`` is what else there is to say of that cache.
    """

    trials: tuple[TrialRecord, ...]
    policy: str
    accept_vacuous: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    corpora: Mapping[str, Any] = field(default_factory=dict)
    forward_passes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()
    findings: Mapping[str, Any] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    violations: tuple[str, ...] = ()
    kept: tuple[Mapping[str, Any], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def subjects(self) -> list[str]:
        """The models under test, in the order in which they were planned."""
        return list(dict.fromkeys(s.model for record in self.trials for s in record.subjects))

    @property
    def criteria(self) -> list[CriterionRecord]:
        """The checklist. A criterion without any trial is there too, and is NA."""
        return [
            CriterionRecord(id_, {model: self.verdict_on(id_, model) for model in self.subjects}) for id_ in CRITERIA
        ]

    def of_criterion(self, criterion: str) -> list[TrialRecord]:
        """The trials that speak to one criterion."""
        return [record for record in self.trials if record.trial.criterion == criterion]

    def verdict_on(self, criterion: str, model: str) -> Verdict:
        """The verdict on one criterion for one model, under the run's policy."""
        on_model = [(record.trial, record.on(model)) for record in self.of_criterion(criterion)]
        found = criterion_verdict([(s.outcome, trial.primary) for trial, s in on_model if s is not None], self.policy)
        return Verdict.NA if self.violations and found is Verdict.PASS else found

    @property
    def cases(self) -> Iterator[CaseRecord]:
        """Every case of every trial on every model."""
        yield from (case for record in self.trials for subject in record.subjects for case in subject.cases)

    @property
    def subject_arms(self) -> Iterator[ArmResult]:
        """The arm of every case that is no control."""
        yield from (case.result.subject for case in self.cases)

    @property
    def arms(self) -> Iterator[ArmResult]:
        """Every arm of every case."""
        for case in self.cases:
            yield from (case.result.subject, *case.result.arms.values())

    def count(self, outcome: Outcome) -> int:
        """How many trials ended so, counting a trial once per model."""
        return sum(subject.outcome is outcome for record in self.trials for subject in record.subjects)


def build_evidence(
    planned: Iterable[PlannedItem],
    results: Mapping[str, ArmResult],
    *,
    policy: str,
    accept_vacuous: bool = False,
    holm: bool = False,
    **rest: Any,
) -> Evidence:
    """The evidence of a run, from what was planned and what came back (by node id).

    A planned item without a result is NOT_RUN; a result that nobody planned is not looked at. ``holm`` asks
    that trials pass after Holm's correction over all trials of their criterion on the same model.
    """
    arms: dict[tuple[Trial, str], dict[tuple[str, str], dict[str, ArmResult]]] = defaultdict(dict)
    first: dict[tuple[Trial, str], PlannedItem] = {}
    for item in planned:
        case = item.case
        result = results.get(item.nodeid) or (NEVER_REACHED if item.selected else DESELECTED)
        result = replace(result, nodeid=item.nodeid)
        arms[item.trial, case.corpus].setdefault((case.model, case.variant), {})[case.arm] = result
        first.setdefault((item.trial, case.corpus), item)
    records = []
    for (trial, corpus), cases in arms.items():
        subjects: dict[str, list[CaseRecord]] = defaultdict(list)
        for (model, variant), results_of in cases.items():
            controls = {arm: result for arm, result in results_of.items() if arm != SUBJECT}
            together_ = CaseResult(controls, results_of.get(SUBJECT, NEVER_REACHED))
            subjects[model].append(CaseRecord(variant, together_, *together_.outcome(accept_vacuous=accept_vacuous)))
        on = tuple(SubjectRecord(model, tuple(found)) for model, found in subjects.items())
        item = first[trial, corpus]
        records.append(TrialRecord(trial, corpus, on, item.nodeid.partition("::")[0], item.line, item.code))
    if holm:
        records = _corrected(records)
    return Evidence(tuple(records), policy=policy, accept_vacuous=accept_vacuous, **rest)


def _corrected(records: list[TrialRecord]) -> list[TrialRecord]:
    """The same records, in which a PASS that does not survive Holm's correction is NA.

    What has no p-value, having no sampling error, neither counts nor is touched.
    """
    families: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for record in records:
        for subject in record.subjects:
            if subject.p is not None:
                families[record.trial.criterion, subject.model][record.name] = subject.p
    corrected = {family: holm_adjust(p_values) for family, p_values in families.items()}

    def again(record: TrialRecord, subject: SubjectRecord) -> SubjectRecord:
        family = corrected.get((record.trial.criterion, subject.model), {})
        p = family.get(record.name, 0.0)
        if subject.outcome is not Outcome.PASS or p <= SIGNIFICANCE_LEVEL:
            return subject
        reason = f"p = {format_number(p)} after Holm's correction over {len(family)} trials; {subject.reason}"
        return replace(subject, cases=tuple(replace(c, outcome=Outcome.NA, reason=reason) for c in subject.cases))

    return [replace(record, subjects=tuple(again(record, s) for s in record.subjects)) for record in records]
