"""The report on the terminal: the checklist, the trials by outcome, and one sentence on the whole."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import CaseState
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.protocol import MAX_TRIES, by_protocol
from pytest_unineuron.evidence.records import RecordedCase
from pytest_unineuron.evidence.verdict import Verdict, effective_policy
from pytest_unineuron.reports.by_outcome import CLOSE, cases_not_applicable, outcome_lines, weakest_claim
from pytest_unineuron.reports.lines import OUTCOME_COLOURS, shorten, wrapped
from pytest_unineuron.reports.reproduce import failed_cases
from pytest_unineuron.reports.table import table_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.baseline.gate import Gate
    from pytest_unineuron.evidence.records import CriterionRecord, Evidence
    from pytest_unineuron.reports.lines import Line

VERDICT_WORDS = {Verdict.PASS: "supported", Verdict.FAIL: "not supported", Verdict.NA: "undecided"}
VERDICT_MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.NA: "—"}
MAX_COMMANDS = 10
"""The number of commands that are shown; the report lists all."""


def report_lines(evidence: Evidence, width: int = 80, *, verbose: bool = False) -> Iterator[Line]:
    """The lines of the terminal section: the checklist with its strongest evidence, then the trials by outcome.

    With ``verbose``, the table of all measurements follows, and every case that does not apply is named.
    """
    yield from checklist_lines(evidence, width)
    yield from outcome_lines(evidence, width)
    if any(record.trial.primary for record in evidence.trials):
        yield "", ""
        yield "* decides its criterion, unless one that compares seeds does", ""
    for lines in (table_lines(evidence, width) if verbose else (), note_lines(evidence, width, verbose=verbose)):
        if found := list(lines):
            yield from (("", ""), *found)
    yield "", ""
    yield from wrapped(assessment(evidence), width, colour="bold", further=0)


def note_lines(evidence: Evidence, width: int = 80, *, verbose: bool = False) -> Iterator[Line]:
    """Cases that did not run or do not apply, copies, files not read, notes on the cache, lost results, violations."""
    if count := evidence.count(Outcome.NOT_RUN):
        yield f"{_cases(count)} did not run", OUTCOME_COLOURS[Outcome.NOT_RUN]
    for (model, reason), cases in cases_not_applicable(evidence.cases).items():
        which = ", ".join(cases) if verbose else _cases(len(cases))
        yield from wrapped(f"does not apply to {model}: {which} ({shorten(reason)})", width)
    for name, facts in evidence.corpora.items():
        if copies := facts.get("copies", 0):
            yield f"COPIES: {copies} documents of {name} are copies of others and count as one with these", "yellow"
        if others := facts.get("not_read"):
            shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
            yield from wrapped(f"NOT READ in the folder {name}: {shown}", width, colour="yellow")
    yield from ((f"CACHE: {note}", "yellow") for note in evidence.cache_notes)
    yield from ((f"INCOMPLETE: {lost}", "red") for lost in evidence.incomplete)
    yield from ((f"LOCK: {violation}", "red") for violation in evidence.violations)


def checklist_lines(evidence: Evidence, width: int = 80) -> Iterator[Line]:
    """The paper's findings if they were read, and the checklist: for each criterion its strongest evidence."""
    if evidence.findings:
        yield "Original findings (from the paper's published tables)", ""
        for model, facts in evidence.findings.items():
            shown = ", ".join(f"{name} {_format_fact(value)}" for name, value in facts.items())
            yield from wrapped(f"{model}: {shown}", width, 2)
        yield "", ""
    yield f"Generalization checklist (policy: {evidence.rule})", ""
    for line in evidence.criteria:
        by_model = "; ".join(
            f"{model} {verdict}" + (f", {line.basis[model]}" if line.basis[model] else "")
            for model, verdict in line.verdicts.items()
        )
        text = f"[{VERDICT_MARKS[line.verdict]}] {line.id} {CRITERIA[line.id].title}: {line.verdict}"
        trials = evidence.of_criterion(line.id)
        judged_by = effective_policy(evidence.policy, any(record.trial.primary for record in trials))
        if trials and judged_by != evidence.policy:
            text += f" by policy {judged_by}, as no primary trial was collected"
        shown = text + (f" ({by_model})" if by_model else "")
        yield from wrapped(shown, width, 2, OUTCOME_COLOURS[line.verdict])
        yield from _strongest_evidence(evidence, line, width)
    yield from _protocol_lines(evidence, width)


def _strongest_evidence(evidence: Evidence, line: CriterionRecord, width: int) -> Iterator[Line]:
    """The deciding case that shows the verdict on a criterion most clearly."""
    pairs = [pair for model in evidence.subjects for pair in evidence.deciding(line.id, model)]
    cases = [RecordedCase(record, subject, case) for record, subject in pairs for case in subject.cases]
    shown = [each for each in cases if str(each.case.outcome) == str(line.verdict)]
    found = [(claim, each) for each in shown if (claim := weakest_claim(each))]
    if line.verdict is Verdict.NA:
        found = [pair for pair in found if pair[0].status in CLOSE]
    if found:
        sign = -1 if line.verdict is Verdict.FAIL else 1
        claim, each = max(found, key=lambda pair: sign * pair[0].strength)
        yield from wrapped(f"{each.name}: {claim.claimed}: {claim.beside}", width, 6)


def _protocol_lines(evidence: Evidence, width: int) -> Iterator[Line]:
    """The checklist by the protocol that was asked for beside the policy."""
    for id_, record in by_protocol(evidence).items():
        if id_ == next(iter(CRITERIA)):
            yield f"By the protocol {evidence.settings['protocol']} (at most {MAX_TRIES} tries, one success)", ""
        models = "; ".join(f"{model} {words}" for model, words in record.words.items())
        text = f"[{VERDICT_MARKS[record.verdict]}] {id_} {CRITERIA[id_].title}: {record.verdict}"
        yield from wrapped(text + (f" ({models})" if models else ""), width, 2, OUTCOME_COLOURS[record.verdict])


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"


def _format_fact(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def assessment(evidence: Evidence) -> str:
    """The overall assessment: criteria by verdict, cases by outcome, and the number of forward passes."""
    by_verdict = {v: [line.id for line in evidence.criteria if line.verdict is v] for v in Verdict}
    criteria = "; ".join(f"{word}: {', '.join(by_verdict[v])}" for v, word in VERDICT_WORDS.items() if by_verdict[v])
    counts = [f"{count} {outcome}" for outcome in Outcome if (count := evidence.count(outcome))]
    if absent := evidence.n_not_applicable:
        counts.append(f"{absent} not applicable")
    cases = ", ".join(counts) or "none"
    hits = f" ({len(evidence.cache_hits)} results are from the cache)" if evidence.cache_hits else ""
    return f"Overall: {criteria}. Cases: {cases}. Forward passes: {evidence.forward_passes}{hits}."


STATE_COLOURS = {
    CaseState.REGRESSED: "red",
    CaseState.MISSING: "red",
    CaseState.INCOMPARABLE: "red",
    CaseState.WAIVED: "yellow",
    CaseState.NEW: "cyan",
    CaseState.IMPROVED: "green",
}
"""The states whose cases are listed one by one; cases in other states are only counted."""


def gate_lines(gate: Gate) -> Iterator[Line]:
    """Files that could not be written, and the comparison with the baseline."""
    yield from ((problem, "red") for problem in gate.unwritten)
    if gate.unusable:
        yield gate.unusable, "red"
    if gate.comparison is None:
        return
    yield "", ""
    yield f"Against the baseline: {gate.comparison}", "bold"
    for state, colour in STATE_COLOURS.items():
        yield from ((f"  {entry}", colour) for entry in gate.comparison.of(state))
    yield from ((f"  {remark}", "yellow") for remark in gate.comparison.remarks)


def reproduce_lines(evidence: Evidence, gate: Gate) -> Iterator[Line]:
    """The commands that run the failed cases again."""
    commands = [each.command(evidence) for each in failed_cases(evidence, gate.comparison)]
    if commands:
        yield "", ""
        yield "To run again what failed:", ""
        yield from ((f"  {command}", "") for command in commands[:MAX_COMMANDS])
    if len(commands) > MAX_COMMANDS:
        yield f"  and {len(commands) - MAX_COMMANDS} more in the report", ""


_COMMAND_START = re.compile(r"^( *:)(?=:)")


def escape_commands(text: str) -> str:
    r"""The text on one line, in which GitHub's runner sees no workflow command (``::error::``, ``##[error]``).

    Control characters and invisible characters are written as escapes.

    >>> escape_commands("  ::add-mask::a"), escape_commands("a ##[error]b"), escape_commands("a\nb")
    ('  : :add-mask::a', 'a ## [error]b', 'a\\nb')
    """
    shown = "".join(ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
    # GitHub's runner ignores characters without a glyph, so they may stand between those of a command.
    plain = "".join(c for c in shown if " " <= c <= "~")
    if not plain.lstrip().startswith("::") and "##[" not in plain:
        return shown
    return _COMMAND_START.sub(r"\1 ", shown.encode("ascii", "backslashreplace").decode("ascii")).replace("##[", "## [")
