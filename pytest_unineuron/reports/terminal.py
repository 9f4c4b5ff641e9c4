"""The report on the terminal: a table of trials and models, the checklist, and one sentence on the whole."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.baseline.comparison import CaseState
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.records import trials_not_applicable
from pytest_unineuron.evidence.verdict import Verdict, effective_policy
from pytest_unineuron.reports.reproduce import failed_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.baseline.gate import Gate
    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import ArmResult, CaseResult
    from pytest_unineuron.evidence.records import Evidence, RecordedCase

VERDICT_MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.NA: "—"}
OUTCOME_COLOURS = {"PASS": "green", "FAIL": "red", "VACUOUS": "yellow", "ERROR": "red", "NA": "cyan", "NOT_RUN": "cyan"}
DASH = "—"
MAX_COMMANDS = 10
"""The number of commands that are shown; the report lists all."""
Line = tuple[str, str]
"""A line of text and the name of its colour, empty for none."""


class Row(NamedTuple):
    """The cells of one row of the table."""

    trial: str
    model: str
    measured: str
    value: str
    claimed: str
    worst_control: str
    outcome: str


TABLE_HEADER = Row("trial", "model", "measured", "value", "claimed", "worst control", "outcome")


def report_lines(evidence: Evidence, width: int | None = None) -> Iterator[Line]:
    """The lines of the terminal section: a table if ``width`` allows it, else one trial below the other.

    ``width`` is None where lines may have any length, such as in a log.
    """
    rows = [row for each in evidence.cases if not each.subject.not_applicable for row in _rows(each)]
    widths = [max(map(len, column)) for column in zip(TABLE_HEADER, *(row for row, _ in rows), strict=True)]
    if width is None or sum(widths) + 2 * len(widths) <= width:
        yield _aligned(TABLE_HEADER, widths), ""
        yield from ((_aligned(row, widths), colour) for row, colour in rows)
    else:
        for row, colour in rows:
            yield from _stacked(row, colour)
    if count := evidence.count(Outcome.NOT_RUN):
        yield f"{count} did not run", OUTCOME_COLOURS[Outcome.NOT_RUN]
    yield "", ""
    yield from profile_lines(evidence)
    yield from note_lines(evidence)
    yield from checklist_lines(evidence)


def _aligned(row: Row, widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _stacked(row: Row, colour: str) -> Iterator[Line]:
    """The cells of a row below one another."""
    if row.trial:
        yield f"{row.outcome:8} {row.trial} on {row.model}", colour
    if row.measured != DASH:
        yield f"         {row.measured} {row.value}, claimed {row.claimed}; worst control {row.worst_control}", ""


def _rows(recorded: RecordedCase) -> Iterator[tuple[Row, str]]:
    """One row for each claimed measurement of a case, with its colour; the first names the trial and its outcome."""
    record, case = recorded.record, recorded.case
    name = record.name + ("*" if record.trial.primary else "") + (f" {case.variant}" if case.variant else "")
    names = (name, recorded.subject.model, str(case.outcome))
    colour = OUTCOME_COLOURS[case.outcome]
    claimed = [m for m in case.result.subject.measurements if m.claimed]
    if not claimed and case.outcome is not Outcome.NOT_RUN:
        yield Row(*names[:2], DASH, DASH, DASH, DASH, names[2]), colour
    values = _values_of_controls(case.result.arms)
    for m in claimed:
        for cells in _cells(m, case.result, values):
            yield Row(*names[:2], shorten(m.name), *cells, names[2]), colour
            names = ("", "", "")


def _cells(m: Measurement, result: CaseResult, values: ControlValues) -> Iterator[tuple[str, str, str]]:
    """The value, the claim and the nearest control of a measurement: for its own bound, and for its controls."""
    if m.bounds_text or not m.compared:
        worst = _worst_control(m, values) if result.arms else DASH
        yield format_number(m.value) + m.interval_text, _claim(m), worst
    if m.compared:
        nearest = result.nearest.get(m.name)
        if nearest is None:
            yield format_number(m.value), "beyond its controls", "none compared"
        else:
            what = "P" if nearest.by_unit else "difference"
            yield f"{what} = {nearest.value_text}", f"{nearest.claim_text} of any control", nearest.control


def shorten(text: str, longest: int = 400) -> str:
    """The text, cut to at most ``longest`` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _claim(m: Measurement) -> str:
    if m.null is None:
        return m.bounds_text
    return f"{m.bounds_text} (controls {'<' if m.above is not None else '>'} {format_number(m.null)})"


ControlValues = dict[str, list[tuple[float, str]]]
"""The value on each control, with the control's name, by the name of the measurement."""


def _values_of_controls(arms: Mapping[str, ArmResult]) -> ControlValues:
    values: ControlValues = {}
    for arm, result in arms.items():
        for m in result.measurements:
            if m.value is not None:
                values.setdefault(m.name, []).append((m.value, arm))
    return values


def _worst_control(measurement: Measurement, values: ControlValues) -> str:
    """The control that was nearest to showing the effect, with its value."""
    if measurement.name not in values:
        return "none measured"
    value, arm = (max if measurement.above is not None else min)(values[measurement.name])
    return f"{format_number(value)} ({arm})"


def profile_lines(evidence: Evidence) -> Iterator[Line]:
    """The probability of lying beyond the nearest control, layer by layer, of every claim about units."""
    for each in evidence.cases:
        for contrast in each.case.result.nearest.values():
            if contrast.profile_text and not each.subject.not_applicable:
                yield f"{each.name}: {contrast.measurement} by layer: {contrast.profile_text} ({contrast.control})", ""


def note_lines(evidence: Evidence) -> Iterator[Line]:
    """Vacuous, broken and undecided trials, lost results and violations; trials with the same reason share a line."""
    names_by_reason: dict[tuple[Outcome, str, str], list[str]] = {}
    for each in evidence.cases:
        outcome = each.case.outcome
        if each.subject.not_applicable:
            continue
        if outcome in (Outcome.VACUOUS, Outcome.ERROR, Outcome.NA):
            # A reason can be the long message of an exception; the terminal shows its first line, the report all of it.
            reason = shorten((each.case.reason.splitlines() or [""])[0])
            names_by_reason.setdefault((outcome, each.subject.model, reason), []).append(each.record.name)
    for (outcome, model, reason), names in names_by_reason.items():
        trials = names[0] if len(set(names)) == 1 else f"{len(names)} trials"
        yield f"{outcome}: {trials} on {model}: {reason}", OUTCOME_COLOURS[outcome]
    yield from _not_applicable_lines(evidence)
    for name, facts in evidence.corpora.items():
        if copies := facts.get("copies", 0):
            yield f"COPIES: {copies} documents of {name} are copies of others and count as one with these", "yellow"
    yield from ((f"CACHE: {note}", "yellow") for note in evidence.cache_notes)
    yield from ((f"INCOMPLETE: {lost}", "red") for lost in evidence.incomplete)
    yield from ((f"LOCK: {violation}", "red") for violation in evidence.violations)


def _not_applicable_lines(evidence: Evidence) -> Iterator[Line]:
    """One line for all trials that do not apply to a model for the same reason."""
    pairs = ((each.record, each.subject) for each in evidence.cases)
    for (model, reason), trials in trials_not_applicable(pairs).items():
        yield f"does not apply to {model} ({shorten(reason)}): {', '.join(trials)}", OUTCOME_COLOURS[Outcome.NA]


def checklist_lines(evidence: Evidence) -> Iterator[Line]:
    """The paper's findings if they were read, the checklist in the notebook's form, and the overall assessment."""
    if evidence.findings:
        yield "", ""
        yield "Original findings (from the paper's published tables)", ""
        for model, facts in evidence.findings.items():
            yield f"  {model}: " + ", ".join(f"{name} {_format_fact(value)}" for name, value in facts.items()), ""
    yield "", ""
    yield f"Generalization checklist (policy: {evidence.policy})", ""
    for line in evidence.criteria:
        by_model = "; ".join(
            f"{model} {verdict}" + (f", {line.basis[model]}" if line.basis[model] else "")
            for model, verdict in line.verdicts.items()
        )
        text = f"  [{VERDICT_MARKS[line.verdict]}] {line.id} {CRITERIA[line.id].title}: {line.verdict}"
        trials = evidence.of_criterion(line.id)
        judged_by = effective_policy(evidence.policy, any(record.trial.primary for record in trials))
        if trials and judged_by != evidence.policy:
            text += f" by policy {judged_by}, as no primary trial was collected"
        yield text + (f"   ({by_model})" if by_model else ""), OUTCOME_COLOURS[line.verdict]
    yield "", ""
    yield assessment(evidence), "bold"


def _format_fact(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def assessment(evidence: Evidence) -> str:
    """The overall assessment: criteria by verdict, trials by outcome, and the number of forward passes."""
    by_verdict = {v: [line.id for line in evidence.criteria if line.verdict is v] for v in Verdict}
    words = {Verdict.PASS: "supported", Verdict.FAIL: "not supported", Verdict.NA: "undecided"}
    criteria = "; ".join(f"{word}: {', '.join(by_verdict[v])}" for v, word in words.items() if by_verdict[v])
    counts = [f"{evidence.count(o)} {o}" for o in Outcome if evidence.count(o)]
    if absent := evidence.n_not_applicable:
        counts.append(f"{absent} not applicable")
    trials = ", ".join(counts) or "none"
    hits = f" ({len(evidence.cache_hits)} results are from the cache)" if evidence.cache_hits else ""
    return f"Overall: {criteria}. Trials: {trials}. Forward passes: {evidence.forward_passes}{hits}."


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
