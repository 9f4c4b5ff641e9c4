"""The two-key summary, whose form others already read, and the full report: both as plain JSON data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.protocol import by_protocol
from pytest_unineuron.evidence.rationale import NamedCase, rationale
from pytest_unineuron.evidence.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, TrialRecord


def summary_data(evidence: Evidence) -> dict[str, dict[str, str]]:
    """``Checklist`` and ``Rationale``, each over the three criteria; verdicts are PASS, FAIL or NA."""
    return {
        "Checklist": {CRITERIA[line.id].key: str(line.verdict) for line in evidence.criteria},
        "Rationale": {CRITERIA[line.id].key: _rationale(evidence, line.id) for line in evidence.criteria},
    }


def _rationale(evidence: Evidence, criterion: str) -> str:
    """The rationale of one criterion over all models."""
    paragraphs = []
    for model in evidence.subjects:
        cases = [
            NamedCase(
                each.label, each.record.trial.primary, each.case.outcome, each.case.reason, each.subject.not_applicable
            )
            for each in evidence.cases_of(criterion)
            if each.subject.model == model
        ]
        if cases:
            verdict, basis = str(evidence.verdict_on(criterion, model)), evidence.basis_of(criterion, model)
            counted = evidence.accept_vacuous
            paragraphs.append(rationale(model, verdict, basis, evidence.policy, cases, accept_vacuous=counted))
    if evidence.violations:
        paragraphs.insert(0, f"Not as it was locked, so nothing passes: {'; '.join(evidence.violations)}.")
    return " ".join(paragraphs) or f"No trial of {criterion} was collected; that is neither support nor refutation."


def report_data(evidence: Evidence) -> dict[str, Any]:
    """The full report: every trial, case and arm with its measurements, and everything they were made from."""
    protocol = by_protocol(evidence)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": evidence.created,
        "asked": dict(evidence.asked),
        "policy": evidence.policy,
        "accept_vacuous": evidence.accept_vacuous,
        "criteria": {
            line.id: {
                "verdict": str(line.verdict),
                "question": CRITERIA[line.id].question,
                "subjects": {model: str(v) for model, v in line.verdicts.items()},
                "basis": dict(line.basis),
                **({"protocol": protocol[line.id].as_dict()} if protocol else {}),
            }
            for line in evidence.criteria
        },
        "trials": [_trial_data(record) for record in evidence.trials],
        "distributions": [each.as_dict() for each in evidence.distributions],
        "tables": [each.as_dict() for each in evidence.tables],
        "models": dict(evidence.models),
        "corpora": dict(evidence.corpora),
        "forward_passes": evidence.forward_passes,
        "cache": {"hits": [dict(hit) for hit in evidence.cache_hits], "notes": list(evidence.cache_notes)},
        "incomplete": list(evidence.incomplete),
        "lock_violations": list(evidence.violations),
        "original_findings": evidence.findings,
        "settings": dict(evidence.settings),
        "versions": dict(evidence.versions),
        "controls": dict(evidence.controls),
    }


def _trial_data(record: TrialRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        **record.trial.as_dict(),
        "corpus": record.corpus,
        "path": record.path,
        "line": record.line,
        "code": record.code,
        "subjects": {
            subject.model: {
                "outcome": str(subject.outcome),
                "reason": subject.reason,
                "cases": [_case_data(case) for case in subject.cases],
            }
            for subject in record.subjects
        },
    }


def _case_data(case: CaseRecord) -> dict[str, Any]:
    return {
        "variant": case.variant,
        "outcome": str(case.outcome),
        "reason": case.reason,
        "subject": case.result.subject.as_dict(),
        "p_against_controls": case.result.permutation_p_values,
        "contrasts": [contrast.as_dict() for contrast in case.result.contrasts],
        "controls": {
            name: {"standing": str(arm.control_status), **arm.as_dict()} for name, arm in case.result.arms.items()
        },
    }
