"""The report for people, as Markdown. Every text from outside is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.protocol import MAX_TRIES, by_protocol
from pytest_unineuron.reports.by_outcome import cases_not_applicable
from pytest_unineuron.reports.reproduce import failed_cases
from pytest_unineuron.reports.terminal import VERDICT_MARKS, assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_unineuron.evidence.records import Evidence, RecordedCase
    from pytest_unineuron.reports.reproduce import FailedCase

PRIMARY_MARK = "\\*"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~])")


def escape_markdown(text: object) -> str:
    """The text on one line, with everything escaped that Markdown would interpret."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def render_markdown(evidence: Evidence) -> str:
    """The whole report."""
    out = [*checklist_section(evidence), *trials_sections(evidence)]
    out += reproduce_section(evidence, failed_cases(evidence))
    out += provenance_sections(evidence)
    return "\n".join(out) + "\n"


def checklist_section(evidence: Evidence) -> list[str]:
    """The verdicts, one line for each criterion."""
    out = ["# Do universal neurons generalize?", "", escape_markdown(assessment(evidence)), ""]
    if evidence.part:
        out += [f"This run is a part of the suite: {escape_markdown(evidence.part)}.", ""]
    out += ["## Checklist", ""]
    out += ["| | criterion | verdict | by model, and what it rests on |", "|---|---|---|---|"]
    for line in evidence.criteria:
        criterion = CRITERIA[line.id]
        models = "<br>".join(
            f"{escape_markdown(model)} {verdict}"
            + (f": {escape_markdown(line.basis[model])}" if line.basis[model] else "")
            for model, verdict in line.verdicts.items()
        )
        models = models or "—"
        out.append(f"| {VERDICT_MARKS[line.verdict]} | {line.id} {criterion.title} | **{line.verdict}** | {models} |")
    return out + _protocol_section(evidence)


def _protocol_section(evidence: Evidence) -> list[str]:
    """The verdicts by the protocol that was asked for beside the policy, with the tries that count."""
    rows = []
    for id_, record in by_protocol(evidence).items():
        for model, tried in record.tries.items():
            names = "; ".join(f"{name} {outcome}" for name, outcome in tried.items())
            cells = (f"{id_} {CRITERIA[id_].title}", model, str(record.verdicts[model]), names or "none")
            rows.append("| " + " | ".join(map(escape_markdown, cells)) + " |")
    if not rows:
        return []
    title = f"By the protocol {evidence.settings['protocol']}: at most {MAX_TRIES} tries, one success"
    return [
        "",
        f"## {escape_markdown(title)}",
        "",
        "| criterion | model | verdict | tries |",
        "|---|---|---|---|",
        *rows,
    ]


def trials_sections(evidence: Evidence) -> list[str]:
    """A table of all cases, for each criterion."""
    out = []
    for id_, criterion in CRITERIA.items():
        cases = evidence.cases_of(id_)
        if cases:
            out += ["", f"## {id_}: {criterion.question}", ""]
            out += ["| trial | model | outcome | reason | source |", "|---|---|---|---|---|"]
            out += [_case_row(each) for each in cases if not each.subject.not_applicable]
            out += _profile_table(cases)
            out += _not_applicable(cases)
    return out


def _profile_table(cases: Sequence[RecordedCase]) -> list[str]:
    """Every claim about units against its nearest control, layer by layer."""
    rows = []
    for each in cases:
        for contrast in each.case.result.nearest.values():
            if contrast.profile_text:
                cells = (each.label, each.subject.model, contrast.measurement, contrast.control, contrast.value_text)
                rows.append("| " + " | ".join(map(escape_markdown, (*cells, contrast.profile_text))) + " |")
    if not rows:
        return []
    head = ["| trial | model | measured | nearest control | P(beyond it) | by layer |", "|---|---|---|---|---|---|"]
    return ["", *head, *rows]


def _not_applicable(cases: Sequence[RecordedCase]) -> list[str]:
    """The cases that do not apply to a model, one line for each reason."""
    return [
        line
        for (model, reason), labels in cases_not_applicable(cases).items()
        for line in ("", escape_markdown(f"Does not apply to {model} ({reason}): {', '.join(labels)}."))
    ]


def _case_row(each: RecordedCase) -> str:
    name = escape_markdown(each.label) + (PRIMARY_MARK if each.record.trial.primary else "")
    model, reason, source = map(escape_markdown, (each.subject.model, each.case.reason, each.record.trial.source))
    return f"| {name} | {model} | {each.case.outcome} | {reason} | {source} |"


def reproduce_section(evidence: Evidence, failed: Sequence[FailedCase]) -> list[str]:
    """The commands that run the failed cases again, each in a block of code."""
    if not failed:
        return []
    where = "In the folder where pytest was started" if "root" in evidence.asked else "In pytest's root folder"
    out = ["", "## Reproduce", "", f"{where}:"]
    for each in failed:
        command = each.command(evidence)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
        out += ["", f"- {each.kind}: {escape_markdown(each.name)}: {escape_markdown(each.reason)}", "", f"  {fence}sh"]
        out += [f"  {line}" for line in command.splitlines()] + [f"  {fence}"]
    return out


def provenance_sections(evidence: Evidence) -> list[str]:
    """The models, the texts, the paper's findings, the use of the cache, lost results, and the versions."""
    out = []
    if evidence.models:
        out += ["", "## Models", "", "| model | class | parameters | neurons | checked on load, largest error |"]
        out += ["|---|---|---|---|---|"]
        out += [_model_row(name, facts) for name, facts in evidence.models.items()]
        out += [line for name, facts in evidence.models.items() for line in _sink_lines(name, facts)]
    if evidence.corpora:
        out += ["", "## Texts", "", "| corpus | distinct documents read | copies | words | tokens, by model |"]
        out += ["|---|--:|--:|--:|---|"]
        out += [_corpus_row(name, facts) for name, facts in evidence.corpora.items()]
    if evidence.findings:
        out += ["", "## Original findings", ""]
        out += [f"- {escape_markdown(name)}: {_format_facts(facts)}" for name, facts in evidence.findings.items()]
    if evidence.cache_hits:
        results = "; ".join(map(_cache_hit, evidence.cache_hits))
        out += ["", f"{len(evidence.cache_hits)} results were taken from the cache, not measured: {results}."]
    out += [line for note in evidence.cache_notes for line in ("", escape_markdown(note))]
    out += _list_section("Lock violated", evidence.violations)
    out += _list_section("Incomplete", evidence.incomplete)
    passes, versions = evidence.forward_passes, _format_facts(evidence.versions)
    return [*out, "", f"Policy {escape_markdown(evidence.rule)}; {passes} forward passes; {versions}."]


def _list_section(title: str, items: Iterable[str]) -> Iterator[str]:
    if items:
        yield from ("", f"## {title}", "", *(f"- {escape_markdown(item)}" for item in items))


def _format_facts(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{escape_markdown(name)} {escape_markdown(value)}" for name, value in values.items())


def _model_row(name: str, facts: Mapping[str, Any]) -> str:
    """A row on one model: its class, its numbers of parameters and neurons, and how exactly they were confirmed."""
    checks = "; ".join(
        f"{identity} at {found['sites']} of {found['of']} sites, {found['error']:.0e}"
        for identity, found in facts.get("verified", {}).items()
    )
    routed = ", ".join(f"{corpus} {share['median']:.2g}" for corpus, share in facts.get("routed", {}).items())
    neurons = f"{facts.get('neurons', 0):,}"
    if routed:
        neurons += f" (median share of tokens routed to an expert: {routed})"
    cells = (name, facts.get("class", ""), f"{facts.get('parameters', 0):,}", neurons, checks)
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


def _corpus_row(name: str, facts: Mapping[str, Any]) -> str:
    """A row on one text, as far as it was read."""
    tokens = ", ".join(f"{model} {count:,}" for model, count in facts.get("tokens", {}).items())
    cells = (name, facts.get("documents", ""), facts.get("copies", 0), facts.get("words", ""), tokens)
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


def _sink_lines(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each text on which a model has attention sinks."""
    for corpus, sinks in facts.get("sinks", {}).items():
        if sinks["tokens"]:
            positions = ", ".join(f"{position} ({count} times)" for position, count in sinks["positions"].items())
            text = (
                f"{name} on {corpus}: {sinks['tokens']} tokens ({sinks['share']:.2%}) are attention sinks, at "
                f"positions {positions} of their blocks. They carry {sinks['fourth_moment']:.1%} of the fourth moment "
                "of the middle residual stream, and are left out of the statistics of all arms."
            )
            yield from ("", escape_markdown(text))


def _cache_hit(hit: Mapping[str, Any]) -> str:
    """A result that was read from the cache, in a few words."""
    arm = Case(hit["model"], control=hit["control"], draw=hit["draw"])
    return escape_markdown(f"{hit['what']} of {arm.id} on {hit['corpus']}")
