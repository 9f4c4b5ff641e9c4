"""The report for people, as Markdown. Everything that came from outside is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_unineuron.checklist.criteria import CRITERIA
from pytest_unineuron.reports.terminal import MARKS, assessment

if TYPE_CHECKING:
    from pytest_unineuron.reports.evidence import Evidence

STAR = "\\*"
"""Marks a primary trial."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!])")


def escape(text: object) -> str:
    """Text that Markdown shows as it is, on one line: names and messages can hold anything."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def render(evidence: Evidence) -> str:
    """The whole report."""
    out = ["# Do universal neurons generalize?", "", escape(assessment(evidence)), "", "## Checklist", ""]
    out += ["| | criterion | verdict | by model |", "|---|---|---|---|"]
    for line in evidence.criteria:
        criterion = CRITERIA[line.id]
        models = ", ".join(f"{escape(model)} {verdict}" for model, verdict in line.verdicts.items()) or "—"
        out.append(f"| {MARKS[line.verdict]} | {line.id} {criterion.title} | **{line.verdict}** | {models} |")
    for id_, criterion in CRITERIA.items():
        records = evidence.of_criterion(id_)
        if not records:
            continue
        out += ["", f"## {id_}: {criterion.question}", ""]
        out += ["| trial | model | outcome | reason | source |", "|---|---|---|---|---|"]
        out += [
            f"| {escape(record.name)}{STAR if record.trial.primary else ''} | {escape(subject.model)} "
            f"| {subject.outcome} | {escape(subject.reason)} | {escape(record.trial.source)} |"
            for record in records
            for subject in record.subjects
        ]
    if evidence.findings:
        out += ["", "## Original findings", ""]
        out += [f"- {escape(name)}: " + ", ".join(f"{escape(k)} {escape(v)}" for k, v in facts.items())
                for name, facts in evidence.findings.items()]  # fmt: skip
    if evidence.incomplete:
        out += ["", "## Incomplete", "", *(f"- {escape(what)}" for what in evidence.incomplete)]
    made = ", ".join(f"{escape(name)} {escape(version)}" for name, version in evidence.versions.items())
    out += ["", f"Policy `{evidence.policy}`; {evidence.forward_passes} forward passes; {made}."]
    return "\n".join(out) + "\n"
