"""What a run says on the terminal: one line per trial and model, the checklist, one sentence."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import State
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import Verdict
from pytest_unineuron.reports.reproduce import failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.baseline.gate import Gate
    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import Evidence, SubjectRecord, TrialRecord

MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.NA: "—"}
COLOURS = {"PASS": "green", "FAIL": "red", "VACUOUS": "yellow", "ERROR": "red", "NA": "cyan", "NOT_RUN": "cyan"}
NOTHING = "—"
Line = tuple[str, str]
"""A line of text and the name of its colour, empty for none."""


HEADS = ("trial", "model", "measured", "value", "claimed", "worst control", "outcome")


def lines(evidence: Evidence, width: int | None = None) -> Iterator[Line]:
    """The terminal section, line by line; as a table where ``width`` allows it, else trial by trial.

    ``width`` is None where lines may be of any length, such as in a log.
    """
    rows = [row for record in evidence.trials for subject in record.subjects for row in _rows(record, subject)]
    widths = [max(len(row[i]) for row in (*(r for r, _ in rows), HEADS)) for i in range(len(HEADS))]
    if width is None or sum(widths) + 2 * len(widths) <= width:
        yield _aligned(HEADS, widths), ""
        yield from ((_aligned(cells, widths), colour) for cells, colour in rows)
    else:
        for cells, colour in rows:
            yield from _stacked(cells, colour)
    if count := evidence.count(Outcome.NOT_RUN):
        yield f"and {count} that did not run", COLOURS[Outcome.NOT_RUN]
    yield "", ""
    yield from notes(evidence)
    yield from checklist(evidence)


def cut(text: str, longest: int = 400) -> str:
    """The text, or as much of it as a reader can take in."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _stacked(cells: tuple[str, ...], colour: str) -> Iterator[Line]:
    """The cells of one row, below one another."""
    trial, model, measured, value, claimed, worst, outcome = cells
    if trial:
        yield f"{outcome:8} {trial} on {model}", colour
    if measured != NOTHING:
        yield f"         {measured} {value}, claimed {claimed}; worst control {worst}", ""


def _rows(record: TrialRecord, subject: SubjectRecord) -> Iterator[tuple[tuple[str, ...], str]]:
    """One row per judged measurement of each case; the outcome stands in the first."""
    for case in subject.cases:
        name = record.name + ("*" if record.trial.primary else "") + (f" {case.variant}" if case.variant else "")
        colour = COLOURS[case.outcome]
        shown = [m for m in case.result.subject.measurements if m.claimed]
        if not shown and case.outcome is not Outcome.NOT_RUN:
            yield (name, subject.model, *[NOTHING] * 4, str(case.outcome)), colour
        controls = _by_name(case.result.arms)
        for index, measurement in enumerate(shown):
            worst = _worst(measurement, controls) if case.result.arms else NOTHING
            first = index == 0
            yield (
                (
                    name if first else "",
                    subject.model if first else "",
                    cut(measurement.name),
                    _value(measurement),
                    _claim(measurement),
                    worst,
                    str(case.outcome) if first else "",
                ),
                colour,
            )


def _value(measurement: Measurement) -> str:
    text = format_number(measurement.value)
    if measurement.low is not None and measurement.high is not None:
        text += f" [{format_number(measurement.low)}, {format_number(measurement.high)}]"
    return text


def _claim(measurement: Measurement) -> str:
    bounds = (("> ", measurement.above), ("< ", measurement.below))
    text = " and ".join(sign + format_number(bound) for sign, bound in bounds if bound is not None)
    if measurement.null is None:
        return text
    return f"{text} (controls {'<' if measurement.above is not None else '>'} {format_number(measurement.null)})"


Values = dict[str, list[tuple[float, str]]]
"""What controls measured, and which, by the name of the measurement."""


def _by_name(arms: Mapping[str, ArmResult]) -> Values:
    found: Values = {}
    for arm, result in arms.items():
        for m in result.measurements:
            if m.value is not None:
                found.setdefault(m.name, []).append((m.value, arm))
    return found


def _worst(measurement: Measurement, controls: Values) -> str:
    """The control that came nearest to showing the effect, with its value."""
    values = controls.get(measurement.name)
    if not values:
        return "none measured"
    value, arm = (max if measurement.above is not None else min)(values)
    return f"{format_number(value)} ({arm})"


def notes(evidence: Evidence) -> Iterator[Line]:
    """What a reader must not miss: vacuous trials, errors, undecided cases, and anything that was lost.

    Trials with the same reason share a line.
    """
    told: dict[tuple[Outcome, str, str], list[str]] = {}
    for record in evidence.trials:
        for subject in record.subjects:
            for case in subject.cases:
                if case.outcome in (Outcome.VACUOUS, Outcome.ERROR, Outcome.NA):
                    # A reason is whatever an exception said: one line of it is for here, all of it in the report.
                    reason = cut((case.reason.splitlines() or [""])[0])
                    told.setdefault((case.outcome, subject.model, reason), []).append(record.name)
    for (outcome, model, reason), names in told.items():
        trials = names[0] if len(set(names)) == 1 else f"{len(names)} trials"
        yield f"{outcome}: {trials} on {model}: {reason}", COLOURS[outcome]
    if resumed := sum(arm.resumed for arm in evidence.arms):
        yield f"RESUMED: {resumed} results were measured by an attempt that was cut short", "cyan"
    for what in evidence.cache_notes:
        yield f"CACHE: {what}", "yellow"
    for what in evidence.incomplete:
        yield f"INCOMPLETE: {what}", "red"
    for what in evidence.violations:
        yield f"LOCK: {what}", "red"


def checklist(evidence: Evidence) -> Iterator[Line]:
    """The checklist in the notebook's form, and one line of overall assessment."""
    if evidence.findings:
        yield "", ""
        yield "Original findings (from the paper's published tables)", ""
        for model, facts in evidence.findings.items():
            yield f"  {model}: " + ", ".join(f"{name} {_fact(value)}" for name, value in facts.items()), ""
    yield "", ""
    yield f"Generalization checklist (policy: {evidence.policy})", ""
    for line in evidence.criteria:
        criterion = CRITERIA[line.id]
        per_model = ", ".join(f"{model} {verdict}" for model, verdict in line.verdicts.items())
        text = f"  [{MARKS[line.verdict]}] {line.id} {criterion.title}: {line.verdict}"
        yield text + (f"   ({per_model})" if per_model else ""), COLOURS[line.verdict]
    yield "", ""
    yield assessment(evidence), "bold"


def _fact(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def assessment(evidence: Evidence) -> str:
    """One sentence on the whole."""
    by_verdict = {v: [line.id for line in evidence.criteria if line.verdict is v] for v in Verdict}
    parts = [
        f"{words}: {', '.join(by_verdict[v])}"
        for v, words in ((Verdict.PASS, "supported"), (Verdict.FAIL, "not supported"), (Verdict.NA, "undecided"))
        if by_verdict[v]
    ]
    counts = ", ".join(f"{evidence.count(o)} {o}" for o in Outcome if evidence.count(o))
    kept = f" ({len(evidence.cache_hits)} results are from the cache)" if evidence.cache_hits else ""
    passes = f"Forward passes: {evidence.forward_passes}{kept}."
    return f"Overall: {'; '.join(parts)}. Trials: {counts or 'none'}. {passes}"


STATES = {
    State.REGRESSED: "red",
    State.MISSING: "red",
    State.INCOMPARABLE: "red",
    State.WAIVED: "yellow",
    State.NEW: "cyan",
    State.IMPROVED: "green",
}
"""States that are told one by one; what is the same, or was left out, is counted only."""


def gate(found: Gate) -> Iterator[Line]:
    """What a baseline and a lock say of the run."""
    for problem in found.unwritten:
        yield problem, "red"
    if found.unusable:
        yield found.unusable, "red"
    if found.comparison is None:
        return
    yield "", ""
    yield f"Against the baseline: {found.comparison}", "bold"
    for state, colour in STATES.items():
        yield from ((f"  {entry}", colour) for entry in found.comparison.of(state))
    yield from ((f"  {remark}", "yellow") for remark in found.comparison.remarks)


MOST = 10
"""Commands that are shown; more are in the report."""


def reproduce(evidence: Evidence, found: Gate) -> Iterator[Line]:
    """The commands that run again what failed."""
    commands = [each.command(evidence) for each in failing(evidence, found.comparison)]
    if commands:
        yield "", ""
        yield "To run again what failed:", ""
        yield from ((f"  {command}", "") for command in commands[:MOST])
    if len(commands) > MOST:
        yield f"  and {len(commands) - MOST} more in the report", ""


_START = re.compile(r"^( *:)(?=:)")


def inert(text: str) -> str:
    r"""A line that stays one, and in which a CI system sees no command of its own (``::error::``, ``##[error]``).

    Control characters, and those that show nothing, are spelled out.

    >>> inert("  ::add-mask::a"), inert("a ##[error]b"), inert("a\nb")
    ('  : :add-mask::a', 'a ## [error]b', 'a\\nb')
    """
    shown = "".join(ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
    # GitHub's runner compares as people read: whatever shows nothing may stand between the characters.
    plain = "".join(c for c in shown if " " <= c <= "~")
    if not plain.lstrip().startswith("::") and "##[" not in plain:
        return shown
    return _START.sub(r"\1 ", shown.encode("ascii", "backslashreplace").decode("ascii")).replace("##[", "## [")
