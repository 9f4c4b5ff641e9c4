"""The evidence of a run, built from the items that were planned and the results that arrived."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.case import SUBJECT
from pytest_unineuron.evidence.holm import SIGNIFICANCE_LEVEL, holm_adjust
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import DESELECTED, NEVER_REACHED, ArmResult, CaseResult, Outcome
from pytest_unineuron.evidence.records import CaseRecord, Evidence, SubjectRecord, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_unineuron.evidence.planned import PlannedItem
    from pytest_unineuron.evidence.trial import Trial


def build_evidence(
    planned: Iterable[PlannedItem],
    results: Mapping[str, ArmResult],
    *,
    policy: str,
    accept_vacuous: bool = False,
    holm: bool = False,
    **rest: Any,
) -> Evidence:
    """The evidence of a run, from its planned items and the results by node id; ``rest`` are fields of Evidence.

    A planned item without a result is NOT_RUN; a result without a planned item is ignored. With ``holm``, a trial
    passes only if it does after Holm's correction over all trials of its criterion on the same model.
    """
    items_of_trial: dict[tuple[Trial, str], list[PlannedItem]] = defaultdict(list)
    for item in planned:
        items_of_trial[item.trial, item.case.corpus].append(item)
    records = [_trial_record(items, results, accept_vacuous) for items in items_of_trial.values()]
    if holm:
        records = _apply_holm(records)
    return Evidence(tuple(records), policy=policy, accept_vacuous=accept_vacuous, **rest)


def _trial_record(items: list[PlannedItem], results: Mapping[str, ArmResult], accept_vacuous: bool) -> TrialRecord:
    """The record of one trial on one corpus."""
    arms_of_case: dict[tuple[str, str], dict[str, ArmResult]] = defaultdict(dict)
    for item in items:
        result = results.get(item.nodeid) or (NEVER_REACHED if item.selected else DESELECTED)
        arms_of_case[item.case.model, item.case.variant][item.case.arm] = replace(result, nodeid=item.nodeid)
    cases_of_model: dict[str, list[CaseRecord]] = defaultdict(list)
    for (model, variant), arms in arms_of_case.items():
        case = CaseResult(arms, arms.pop(SUBJECT, NEVER_REACHED), items[0].trial.controls or ())
        cases_of_model[model].append(CaseRecord(variant, case, *case.outcome(accept_vacuous=accept_vacuous)))
    subjects = tuple(SubjectRecord(model, tuple(cases)) for model, cases in cases_of_model.items())
    first = items[0]
    path = first.nodeid.partition("::")[0]
    return TrialRecord(first.trial, first.case.corpus, subjects, path, first.line, first.code)


def _apply_holm(records: list[TrialRecord]) -> list[TrialRecord]:
    """The records, where a PASS that is not significant after Holm's correction is NA.

    A family is all trials of one criterion on one model. A trial without a p-value is not part of it and stays.
    """
    families: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for record in records:
        for subject in record.subjects:
            if subject.p_value is not None:
                families[record.trial.criterion, subject.model][record.name] = subject.p_value
    adjusted = {family: holm_adjust(p_values) for family, p_values in families.items()}
    return [
        replace(
            record,
            subjects=tuple(
                _after_holm(subject, record.name, adjusted.get((record.trial.criterion, subject.model), {}))
                for subject in record.subjects
            ),
        )
        for record in records
    ]


def _after_holm(subject: SubjectRecord, name: str, adjusted: Mapping[str, float]) -> SubjectRecord:
    """The record of a trial on one model, NA if its adjusted p-value is above the level."""
    p = adjusted.get(name, 0.0)
    if subject.outcome is not Outcome.PASS or p <= SIGNIFICANCE_LEVEL:
        return subject
    reason = f"p = {format_number(p)} after Holm's correction over {len(adjusted)} trials; {subject.reason}"
    return replace(subject, cases=tuple(replace(case, outcome=Outcome.NA, reason=reason) for case in subject.cases))
