"""The page over many reports: its lines and columns, what changed, its size, and the command that writes it."""

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence.outcome import NOT_APPLICABLE, ArmResult, Outcome
from pytest_unineuron.reports import history, page, write
from pytest_unineuron.reports.history import CaseResult, History, NamedReport, render_history
from tests.evidence.made import arm, evidence, share
from tests.reports.test_page import Parsed, hostile_run, words

FIRST = {("heavy", "", "m"): arm(share(0.9)), ("gone", "", "m"): arm(share(0.9))}
SECOND = {("heavy", "", "m"): arm(share(0.1)), ("new", "", "n"): arm(share(0.9)), ("left_out", "", "m"): None}


def report(cases, day, name=""):
    return NamedReport(name or f"run {day}", evidence(cases, created=f"2026-11-{day:02}T12:00:00+00:00"))


def test_a_line_has_what_a_trial_came_to_in_each_report():
    """Trials of the last report come first, and one that a report does not have leaves its cell empty."""
    heads = {("heads", "", "m"): ArmResult(Outcome.NA, "no heads", notes=(NOT_APPLICABLE,))}
    shown = History([report(FIRST, 1), report(heads, 2), report(SECOND, 3)], 0)
    rows = {row.name: row.cells for row in shown.rows}
    assert list(rows) == ["heavy on m", "new on n", "left_out on m", "gone on m"]
    assert rows["heavy on m"] == [CaseResult(Outcome.PASS, "0.9", False), None, CaseResult(Outcome.FAIL, "0.1", True)]
    assert rows["new on n"] == [None, None, CaseResult(Outcome.PASS, "0.9", False)]
    assert rows["left_out on m"][2] == CaseResult(Outcome.NOT_RUN, "", False)
    assert [row.last.outcome for row in shown.rows] == ["FAIL", "PASS", "NOT_RUN", "PASS"]


def test_a_trial_that_did_not_run_has_not_changed():
    """The next outcome is compared with the one before."""
    left_out = {("heavy", "", "m"): None}
    runs = [report(FIRST, 1), report(left_out, 2), report(SECOND, 3), report(left_out, 4), report(SECOND, 5)]
    (row,) = [row for row in History(runs, 0).rows if row.name == "heavy on m"]
    assert [cell.changed for cell in row.cells] == [False, False, True, False, False]


def test_verdicts_on_every_model_come_first():
    """A model that was no subject of a report has no verdict in it."""
    shown = History([report(FIRST, 1), report(SECOND, 2)], 0)
    found = {(criterion.id, model): verdicts for criterion, model, verdicts in shown.verdicts}
    assert found["GT2", "m"] == ["PASS", "FAIL"]
    assert found["GT2", "n"] == [None, "PASS"]


def test_columns_are_in_order_of_date():
    """Whatever the order in which the files were named."""
    shown = words(render_history([report(SECOND, 20, "late"), report(FIRST, 3, "early")]))
    assert "2026-11-03 12:00 early 2026-11-20 12:00 late" in shown
    assert "heavy on m ✓ PASS 0.9 ✗ FAIL 0.1" in shown


def test_a_page_that_would_be_too_large_leaves_out_the_oldest(monkeypatch):
    """It says how many; the last report stays however large it is."""
    reports = [report(FIRST, day) for day in range(1, 21)]
    whole = render_history(reports)
    assert "left out" not in whole
    for size in (len(whole.encode()) - 1, 1):
        monkeypatch.setattr(page, "MAX_BYTES", size)
        monkeypatch.setattr(history, "MAX_BYTES", size)
        small = words(render_history(reports))
        left_out = sum(f"run {day} " not in small for day in range(1, 21))
        assert f"The oldest reports were left out, since the page would be larger than 0 MB: {left_out}." in small
        assert "run 20" in small
        assert (left_out == 19) == (size == 1)


def test_the_command_writes_one_page_of_several_files(tmp_path, capsys):
    """Columns are named after folders; without the name of a page, the error says what to add."""
    for name, cases in (("a", FIRST), ("b", SECOND)):
        assert write.write_reports(evidence(cases), tmp_path / name) == []
    files = [str(tmp_path / name / write.REPORT) for name in "ab"]
    html = tmp_path / "history.html"
    assert main(["report", *files, "--html", str(html)]) == 0
    assert capsys.readouterr().out == f"Written: {html}\n"
    assert f"2026-11-01 12:00 {tmp_path / 'a'} 2026-11-01 12:00 {tmp_path / 'b'}" in words(
        html.read_text(encoding="utf-8")
    )
    assert main(["report", *files]) == 4
    assert "2 reports were named, which are shown as one page: give --html FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_a_browser_shows_it_without_an_error(visit, width, scheme):
    """Text from outside is text, and only the table scrolls; the filter goes by the last outcome."""
    hostile = NamedReport("\u202e<script>alert(1)</script>", hostile_run())
    text = render_history([hostile, *(report(FIRST, day) for day in range(1, 9)), report(SECOND, 9)])
    assert Parsed(text).tags.count("script") == 1
    tab, events = visit(text, width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.locator("input[value=PASS]").uncheck()
    assert not tab.locator("text=gone on m").is_visible()
    assert tab.locator("text=heavy on m").is_visible()
    assert events == []
