"""Saved reports as tables."""

import pytest

import pytest_unineuron as unineuron
from pytest_unineuron.errors import ReportError
from pytest_unineuron.reports import write
from pytest_unineuron.study.saved import Report
from tests.evidence.made import arm, distribution, evidence, share
from tests.reports.test_charts import compared

KEY = ("heavy", "news", "m")


@pytest.fixture
def report(tmp_path):
    """A report of two trials, read from a file."""
    cases = {KEY: arm(share(0.9, error=0.01)), ("dense", "", "m"): arm(share(0.1))}
    assert write.write_reports(evidence(cases, models={"m": {"class": "M", "neurons": 5}}), tmp_path) == []
    return unineuron.load_report(tmp_path / write.REPORT)


def test_every_table_has_a_row_for_each_thing(report):
    """Trials, measurements of all arms, control arms and models."""
    assert dict(zip(report.trials["trial"], report.trials["outcome"], strict=True)) == {
        "heavy": "PASS",
        "dense": "FAIL",
    }
    numbers = report.measurements.set_index(["trial", "arm"])["value"].to_dict()
    assert numbers == {("heavy", ""): 0.9, ("heavy", "untrained"): 0.0, ("dense", ""): 0.1, ("dense", "untrained"): 0.0}
    assert set(report.measurements["status"]) == {"holds", "misses"}
    assert list(report.controls["status"]) == ["missed", "missed"]
    assert report.models.loc["m", "neurons"] == 5


def test_profiles_have_a_row_for_each_layer():
    """Those of the model and of every control; a layer without a number has none."""
    profile = ((0, 1.0), (1, None))
    run = evidence({KEY: arm(compared(0.5, profile))}, control=arm(compared(0.9, profile)))
    table = Report(run).profiles
    assert list(table["arm"]) == ["", "", "untrained", "untrained"]
    assert table["value"].isna().tolist() == [False, True, False, True]
    assert list(Report(run).contrasts["control"]) == ["untrained"]


def test_distributions_have_a_row_over_all_layers_and_for_each():
    """Numbers and arms are those of the report; without any, the table has its columns."""
    run = evidence({}, distributions=(distribution(layers=2), distribution(control="untrained", draw=2, layers=1)))
    table = Report(run).distributions
    assert list(table["arm"]) == ["", "", "", "untrained.2", "untrained.2"]
    assert table["layer"].isna().tolist() == [True, False, False, True, False]
    assert table[table["layer"] == 1][["units", "q5", "q50", "q95"]].to_numpy().tolist() == [[4, 2.0, 4.0, 8.0]]
    assert list(Report(evidence({})).distributions) == list(table)


def test_an_empty_report_has_tables_with_columns():
    """Code that selects columns works on it."""
    empty = Report(evidence({}))
    for name in ("trials", "measurements", "controls", "contrasts", "profiles"):
        table = getattr(empty, name)
        assert table.empty
        assert "trial" in table


def test_one_trial_is_shown_alone(report):
    """By its id or its name; another name is an error with the nearest one."""
    assert list(report.trial("heavy").trials["trial"]) == ["heavy"]
    assert list(report.trial("heavy[news]").trials["trial"]) == ["heavy"]
    with pytest.raises(ReportError, match=r"trial heavi: there is none in this report; did you mean heavy\?"):
        report.trial("heavi")


def test_a_notebook_shows_the_page_in_a_frame(report):
    """Its styles do not touch the notebook."""
    shown = report.trial("heavy")._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert shown.endswith("></iframe>")
    assert '"' not in shown.removeprefix('<iframe srcdoc="').split('" style="')[0]


def test_a_missing_file_says_how_to_make_one(tmp_path):
    """As on the command line."""
    with pytest.raises(ReportError, match="there is no such file; make one: pytest evals/"):
        unineuron.load_report(tmp_path / "none.json")
