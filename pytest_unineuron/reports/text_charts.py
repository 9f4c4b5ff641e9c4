"""Dot plots as lines of text, for where no picture can stand: the summary of a job on GitHub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.records import RecordedCase
from pytest_unineuron.reports.charts import MODEL, dot_plots
from pytest_unineuron.reports.lines import shorten
from pytest_unineuron.reports.page import OUTCOME_MARKS
from pytest_unineuron.reports.terminal import escape_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.reports.charts import DotPlot

WIDTH = 40
"""In characters."""
MAX_PLOTS = 12
LONGEST_LABEL = 100
LEGEND = "● the model, ○ a control, ─ a 95 % interval, ┃ the bound, ╎ the limit for controls, ┊ no effect."
MARKS = {"bound": "┃", "limit": "╎", "none": "┊"}


def chart_section(evidence: Evidence) -> list[str]:
    """A block of text with one plot for each case that decides, at most ``MAX_PLOTS``; empty without any."""
    plots = list(_deciding_plots(evidence))
    if not plots:
        return []
    lines = [line for plot in plots[:MAX_PLOTS] for line in plot]
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    rest = [f"The page has {len(plots) - MAX_PLOTS} more."] if len(plots) > MAX_PLOTS else []
    return ["", "## The trials that decide", "", " ".join([LEGEND, *rest]), "", fence, *lines, fence]


def _deciding_plots(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """The name, the first claim and its plot, of every case that decides a criterion."""
    pairs = [(line.id, model) for line in evidence.criteria for model in line.verdicts]
    found = [(id_, *pair) for id_, model in pairs for pair in evidence.deciding(id_, model)]
    for id_, record, subject in found:
        for each in (RecordedCase(record, subject, case) for case in subject.cases):
            plots = [plot for plot in dot_plots(each.case.result, subject.model) if plot.claim]
            for plot in plots[:1]:
                head = f"{OUTCOME_MARKS[each.case.outcome]} {each.case.outcome} {id_} {each.name}"
                yield _plain(head), f"  {_plain(f'{plot.title}, claimed {plot.claim}')}", f"  {plot_line(plot)}"


def plot_line(plot: DotPlot, width: int = WIDTH) -> str:
    """The dots of a plot on one line between the ends of its axis. Where two meet, the model covers the others."""
    drawn = ["·"] * width

    def place(value: float) -> int:
        return round(plot.axis.at(value) / 100 * (width - 1))

    for dot in plot.dots:
        if dot.kind == MODEL and dot.low is not None and dot.high is not None:
            for column in range(place(dot.low), place(dot.high) + 1):
                drawn[column] = "─"
    for mark in plot.marks:
        drawn[place(mark.value)] = MARKS[mark.kind]
    for dot in sorted(plot.dots, key=lambda dot: dot.kind == MODEL):
        if dot.value is not None:
            drawn[place(dot.value)] = "●" if dot.kind == MODEL else "○"
    low, high = plot.axis.ends
    return f"{low} {''.join(drawn)} {high}"


def _plain(text: str) -> str:
    return escape_commands(shorten(text, LONGEST_LABEL))
