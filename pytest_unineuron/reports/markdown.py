"""The report for people, as Markdown. Everything that came from outside is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.reports.reproduce import failing
from pytest_unineuron.reports.terminal import MARKS, assessment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.reports.reproduce import Failing

STAR = "\\*"
"""Marks a primary trial."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!])")


def escape(text: object) -> str:
    """Text that Markdown shows as it is, on one line: names and messages can hold anything."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def _model(name: str, facts: Mapping[str, Any]) -> str:
    """A line on one model: what it is, how many neurons it has, and how well they were confirmed."""
    checks = "; ".join(
        f"{identity} at {found['sites']} of {found['of']} sites, {found['error']:.0e}"
        for identity, found in facts.get("verified", {}).items()
    )
    routed = ", ".join(f"{corpus} {share['median']:.2g}" for corpus, share in facts.get("routed", {}).items())
    neurons = f"{facts.get('neurons', 0):,}" + (
        f" (median share of tokens routed to an expert: {routed})" if routed else ""
    )
    cells = (name, facts.get("class", ""), f"{facts.get('parameters', 0):,}", neurons, checks)
    return "| " + " | ".join(map(escape, cells)) + " |"


def _kept(result: Mapping[str, Any]) -> str:
    """What was taken over, in a few words."""
    arm = result["model"] + (f"~{result['control']}.{result['draw']}" if result["control"] else "")
    return escape(f"{result['what']} of {arm} on {result['corpus']}")


def render(evidence: Evidence) -> str:
    """The whole report."""
    out = [*checklist(evidence), *trials(evidence), *reproduce(evidence, failing(evidence)), *made_from(evidence)]
    return "\n".join(out) + "\n"


def checklist(evidence: Evidence) -> list[str]:
    """The verdicts, line by line."""
    out = ["# Do universal neurons generalize?", "", escape(assessment(evidence)), "", "## Checklist", ""]
    out += ["| | criterion | verdict | by model |", "|---|---|---|---|"]
    for line in evidence.criteria:
        criterion = CRITERIA[line.id]
        models = ", ".join(f"{escape(model)} {verdict}" for model, verdict in line.verdicts.items()) or "—"
        out.append(f"| {MARKS[line.verdict]} | {line.id} {criterion.title} | **{line.verdict}** | {models} |")
    return out


def trials(evidence: Evidence) -> list[str]:
    """A table of every trial on every model, by criterion."""
    out = []
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
    return out


def reproduce(evidence: Evidence, found: Sequence[Failing]) -> list[str]:
    """The command that runs each of these again, to be copied."""
    if not found:
        return []
    where = "In the folder where pytest was started" if "root" in evidence.asked else "In pytest's root folder"
    out = ["", "## Reproduce", "", f"{where}:"]
    for each in found:
        typed = each.command(evidence)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", typed)), default=0))
        out += ["", f"- {each.kind}: {escape(each.name)}: {escape(each.reason)}", "", f"  {fence}sh"]
        out += [f"  {line}" for line in typed.splitlines()] + [f"  {fence}"]
    return out


def made_from(evidence: Evidence) -> list[str]:
    """Models, findings, what was lost, and the versions."""
    out = []
    if evidence.models:
        out += [
            "",
            "## Models",
            "",
            "| model | class | parameters | neurons | checked on load, largest error |",
            "|---|---|---|---|---|",
        ]
        out += [_model(name, facts) for name, facts in evidence.models.items()]
    if evidence.findings:
        out += ["", "## Original findings", ""]
        out += [
            f"- {escape(name)}: " + ", ".join(f"{escape(k)} {escape(v)}" for k, v in facts.items())
            for name, facts in evidence.findings.items()
        ]
    if resumed := sum(arm.resumed for arm in evidence.arms):
        out += ["", f"{resumed} results were measured by an attempt that was cut short."]
    if evidence.cache_hits:
        results = "; ".join(map(_kept, evidence.cache_hits))
        out += ["", f"{len(evidence.cache_hits)} results were taken from the cache, not measured: {results}."]
    out += [line for what in evidence.cache_notes for line in ("", escape(what))]
    if evidence.violations:
        out += ["", "## Lock violated", "", *(f"- {escape(what)}" for what in evidence.violations)]
    if evidence.incomplete:
        out += ["", "## Incomplete", "", *(f"- {escape(what)}" for what in evidence.incomplete)]
    made = ", ".join(f"{escape(name)} {escape(version)}" for name, version in evidence.versions.items())
    out += ["", f"Policy `{evidence.policy}`; {evidence.forward_passes} forward passes; {made}."]
    return out
