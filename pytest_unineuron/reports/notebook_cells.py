"""The functions that the evaluation notebook contains as source and calls.

They read the JSON report and nothing else, with the standard library alone, so that the notebook runs without this
package. Each returns text.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

NOT_APPLICABLE = "not applicable"


def one_line(text: str, longest: int = 400) -> str:
    """The text on one line of at most ``longest`` characters; the JSON report has all of it."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def describe_run(report: dict[str, Any]) -> str:
    """The models, corpora and rules of the run."""
    models = [
        f"  {name}: {facts.get('class', '?')} of {facts.get('parameters', 0):,} parameters and "
        f"{facts.get('neurons', 0):,} neurons"
        for name, facts in report["models"].items()
    ]
    corpora = [f"  {name}: {facts.get('documents', '?')} documents" for name, facts in report["corpora"].items()]
    rules = f"Policy {report['policy']}; a trial that a control passes too counts: {report['accept_vacuous']}."
    created = f"Created {report['created']}; {report['forward_passes']} forward passes."
    return "\n".join([created, rules, "Models read:", *models, "Corpora read:", *corpora])


def cases_of(report: dict[str, Any], criterion: str, applies: bool) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Every case of a criterion whose trial applies to its model, or does not: the trial, the model, and the case."""
    trials = [trial for trial in report["trials"] if trial["criterion"] == criterion]
    on_models = [(trial, *pair) for trial in trials for pair in trial["subjects"].items()]
    found = [each for each in on_models if does_not_apply(each[-1]) != applies]
    return [(trial, model, case) for trial, model, subject in found for case in subject["cases"]]


def does_not_apply(subject: dict[str, Any]) -> bool:
    """Whether the question of a trial does not apply to a model."""
    return all(NOT_APPLICABLE in case["subject"]["notes"] for case in subject["cases"])


def label(trial: dict[str, Any], case: dict[str, Any]) -> str:
    """The name of a case without its model: that of its trial, and the variant of its parameters if it has any."""
    return f"{trial['name']} {case['variant']}".rstrip()


def list_cases(report: dict[str, Any], criterion: str, outcomes: list[str]) -> str:
    """The cases of a criterion with one of these outcomes: claim, result with reason, controls, and source."""
    lines = []
    for trial, model, case in cases_of(report, criterion, True):
        if case["outcome"] in outcomes:
            lines += [
                f"{case['outcome']}  {label(trial, case)}{'*' if trial['primary'] else ''} on {model}",
                f"    claim:    {one_line(trial['claim'])}",
                f"    result:   {one_line(case['reason'])}",
                f"    controls: {', '.join(case['controls']) or 'none'}",
                f"    source:   {one_line(trial['source'])}",
            ]
    return "\n".join(lines) or "None."


def evaluation_notes(report: dict[str, Any], criterion: str) -> str:
    """The verdict on a criterion for every model, and the cases that passed; * marks those that decide."""
    found = report["criteria"][criterion]
    lines = [f"{criterion}: {found['verdict']}. {found['question']}"]
    for model, verdict in found["subjects"].items():
        basis = found["basis"].get(model, "")
        lines.append(f"  {model}: {verdict}{f' ({basis})' if basis else ''}")
    return "\n".join([*lines, "", "Cases that passed:", list_cases(report, criterion, ["PASS"])])


def failed_trials(report: dict[str, Any], criterion: str) -> str:
    """The cases of a criterion that failed, broke, or proved nothing because a control passes them too."""
    return list_cases(report, criterion, ["FAIL", "VACUOUS", "ERROR"])


def missing_evidence(report: dict[str, Any], criterion: str) -> str:
    """The cases of a criterion that were not decided, did not run or do not apply, and what was lost in the run."""
    lines = [list_cases(report, criterion, ["NA", "NOT_RUN"])]
    names: dict[tuple[str, str], list[str]] = {}
    for trial, model, case in cases_of(report, criterion, False):
        names.setdefault((model, case["reason"]), []).append(label(trial, case))
    for (model, reason), absent in names.items():
        lines.append(f"Does not apply to {model} ({one_line(reason)}): {', '.join(absent)}")
    lines += [f"Lost: {one_line(what)}" for what in report["incomplete"]]
    return "\n".join([*lines, *(f"Lock violated: {one_line(what)}" for what in report["lock_violations"])])


def checklist(report: dict[str, Any], keys: dict[str, str]) -> str:
    """The checklist as a table; ``keys`` are the names of the criteria in the summary."""
    protocol = report["settings"].get("protocol")
    rows = [["criterion", "verdict", *([f"by {protocol}"] if protocol else []), "by model"]]
    for criterion, found in report["criteria"].items():
        models = ", ".join(f"{model} {verdict}" for model, verdict in found["subjects"].items())
        also = [found["protocol"]["verdict"]] if protocol else []
        rows.append([keys[criterion], found["verdict"], *also, models or "no trial was collected"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * sum(widths), *lines[1:]])


def closing_assessment(report: dict[str, Any]) -> str:
    """The overall assessment: the criteria by verdict, and the cases that apply by outcome."""
    words = {"PASS": "Supported", "FAIL": "Not supported", "NA": "Undecided"}
    lines = []
    for verdict, word in words.items():
        criteria = [id_ for id_, found in report["criteria"].items() if found["verdict"] == verdict]
        lines += [f"{word}: {', '.join(criteria)}."] if criteria else []
    counts = Counter(case["outcome"] for id_ in report["criteria"] for _, _, case in cases_of(report, id_, True))
    cases = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    absent = sum(len(cases_of(report, id_, False)) for id_ in report["criteria"])
    lines.append(f"Cases: {cases or 'none'}; {absent} do not apply to their model.")
    if report["accept_vacuous"]:
        lines.append("Cases that also pass on a control are among them, and count as if none passed them.")
    else:
        lines.append("VACUOUS cases also pass on a control, so they support nothing and count for no verdict.")
    return "\n".join(lines)
