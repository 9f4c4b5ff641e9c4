"""The figures of trials in the report of pytest-html, if that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.reports.page import render_figures

if TYPE_CHECKING:
    import pytest

    from pytest_unineuron.evidence.records import Evidence

ON_THE_PAGE = "<p>The figure of this trial is on the page of pytest-unineuron.</p>"


class Figures:
    """Extras for the items of models. Their content is made at the end, when all control arms have run.

    pytest-html holds on to the extras of a report, and writes them when the session finishes.
    """

    def __init__(self) -> None:
        self._extras: dict[str, list[dict[str, Any]]] = {}

    def attach(self, report: pytest.TestReport) -> None:
        """Add an extra to the report on the body of an item."""
        from pytest_html import extras  # it was asked for, so it is installed

        extra = extras.html(ON_THE_PAGE)
        report.extras = [*getattr(report, "extras", []), extra]  # type: ignore[attr-defined]
        self._extras.setdefault(report.nodeid, []).append(extra)

    def fill(self, evidence: Evidence) -> None:
        """Put the figures of every case into the extras of its item."""
        for each in evidence.cases:
            for extra in self._extras.get(each.nodeid, ()):
                extra["content"] = render_figures(each)
