"""The table of ``-v``: every claimed measurement, with its nearest control and its profile over layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports.lines import OUTCOME_COLOURS, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import ArmResult, CaseResult
    from pytest_unineuron.evidence.records import Evidence, RecordedCase
    from pytest_unineuron.reports.lines import Line

DASH = "—"


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


def table_lines(evidence: Evidence, width: int) -> Iterator[Line]:
    """The lines of a table if ``width`` allows it, else one trial below the other, and the profiles over layers."""
    rows = [row for each in evidence.cases if not each.subject.not_applicable for row in _rows(each)]
    widths = [max(map(len, column)) for column in zip(TABLE_HEADER, *(row for row, _ in rows), strict=True)]
    if sum(widths) + 2 * len(widths) <= width:
        yield _aligned(TABLE_HEADER, widths), ""
        yield from ((_aligned(row, widths), colour) for row, colour in rows)
    else:
        for row, colour in rows:
            yield from _stacked(row, colour)
    yield from _profile_lines(evidence)


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
        yield m.value_text, _claim(m), worst
    if m.compared:
        nearest = result.nearest.get(m.name)
        if nearest is None:
            yield format_number(m.value), "beyond its controls", "none compared"
        else:
            what = "P" if nearest.by_unit else "difference"
            yield f"{what} = {nearest.value_text}", f"{nearest.claim_text} of any control", nearest.control


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


def _profile_lines(evidence: Evidence) -> Iterator[Line]:
    """The probability of lying beyond the nearest control, layer by layer, of every claim about units."""
    for each in evidence.cases:
        for contrast in each.case.result.nearest.values():
            if contrast.profile_text and not each.subject.not_applicable:
                yield f"{each.name}: {contrast.measurement} by layer: {contrast.profile_text} ({contrast.control})", ""
