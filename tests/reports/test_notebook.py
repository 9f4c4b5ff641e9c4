"""The notebook of a run: valid, readable without running, and the same when it is run again."""

import json
import sys

import pytest

from pytest_unineuron.evidence.outcome import NOT_APPLICABLE, ArmResult, Outcome
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.reports import write
from pytest_unineuron.reports.notebook import render_notebook
from pytest_unineuron.reports.notebook_cells import closing_assessment
from tests.evidence.made import arm, evidence, share

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -e '.[dev]'")

EMPTY = evidence({})


@pytest.fixture
def mixed():
    """Evidence of trials with every kind of outcome, and with text that could break the JSON or the Python."""
    absent = ArmResult(Outcome.NA, "no heads", notes=(NOT_APPLICABLE,))
    cases = {
        ("good", "news", "m"): arm(share(0.9)),
        ("bad", "news", "m"): arm(share(0.2)),
        ("unclear", "code", "m"): arm(share(0.5, error=0.1)),
        ("broken", "", "m"): arm(outcome=Outcome.ERROR, reason="'''\n\"quoted\" \\ {braces} ünïcödé"),
        ("absent", "", "m"): absent,
        ("left_out", "", "m"): None,
    }
    return evidence(cases, models={"m": {"class": "GPT", "parameters": 1000}}, incomplete=("a worker died",))


@pytest.fixture
def vacuous():
    return evidence({("vain", "news", "m"): arm(share(0.9))}, control=0.9)


def stored(notebook):
    """What the notebook prints, by cell."""
    return ["".join(output.text for output in cell.get("outputs", ())) for cell in notebook.cells]


@pytest.mark.parametrize("name", ["mixed", "vacuous", "empty"])
def test_the_notebook_prints_the_same_when_it_is_run(name, request, tmp_path):
    """Every cell runs from the JSON report beside it, in a process that cannot import torch or this package."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    assert write.write_reports(EMPTY if name == "empty" else request.getfixturevalue(name), tmp_path) == []
    notebook = nbformat.read(tmp_path / write.NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    before = stored(notebook)
    absent = "import sys; sys.modules.update(torch=None, numpy=None, pytest_unineuron=None)"
    again = nbformat.from_dict({**notebook, "cells": [nbformat.v4.new_code_cell(absent), *notebook.cells]})
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(again, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert stored(again)[1:] == before
    assert sum(map(bool, before)) == 12  # all code cells but the one that loads the report


def test_every_part_that_the_protocol_asks_for_is_there(mixed):
    """Notes, failed trials and missing evidence on each criterion, the checklist, a closing assessment."""
    notebook = nbformat.reads(render_notebook(mixed, "report.json"), as_version=4)
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if "#" in line
    ]
    for criterion in ("GT1", "GT2", "GT3"):
        assert any(line.startswith(f"## {criterion}") for line in titles)
        assert f"### {criterion}: failed trials" in titles
        assert f"### {criterion}: missing evidence" in titles
    assert titles.count("### Evaluation notes") == 3
    assert titles[-2:] == ["## Checklist", "## Closing assessment"]


def test_every_trial_is_in_one_place(mixed):
    """Passed, failed and undecided trials of a criterion are in three cells, with their reasons."""
    notebook = nbformat.reads(render_notebook(mixed, "report.json"), as_version=4)
    printed = {cell.source.splitlines()[-1]: text for cell, text in zip(notebook.cells, stored(notebook), strict=True)}
    notes, failed, missing = (
        printed[f"print({name}(report, 'GT2'))"] for name in ("evaluation_notes", "failed_trials", "missing_evidence")
    )
    assert "PASS  good[news] on m" in notes
    assert "FAIL  bad[news] on m" in failed
    assert "share = 0.2, claimed > 0.5" in failed
    assert "ERROR  broken on m" in failed
    assert "NA  unclear[code] on m" in missing
    assert "NOT_RUN  left_out on m" in missing
    assert "Does not apply to m (no heads): absent" in missing
    assert "Lost: a worker died" in missing
    assert "GT2_DataGeneralization    FAIL     m FAIL" in printed[next(line for line in printed if "checklist" in line)]


def test_a_vacuous_trial_is_a_failed_one(vacuous):
    """The protocol wants units outside of the finding not to meet the criterion."""
    notebook = nbformat.reads(render_notebook(vacuous, "report.json"), as_version=4)
    assert any("VACUOUS  vain[news] on m" in text and "untrained shows it too" in text for text in stored(notebook))


def test_the_assessment_says_whether_vacuous_trials_count():
    """Where they do, none of them stands under this name."""
    cases, counted = {("vain", "news", "m"): arm(share(0.9))}, {"accept_vacuous": True}
    strict, accepting = (evidence(cases, control=0.9, settings=settings) for settings in ({}, counted))
    texts = [closing_assessment(report_data(each)) for each in (strict, accepting)]
    assert ["count for no verdict" in text for text in texts] == [True, False]
    assert "1 PASS" in texts[1]
    assert "Cases that also pass on a control are among them, and count as if none passed them." in texts[1]


def test_a_run_of_a_part_says_so(mixed, vacuous):
    """As in every other form of the report; a whole run says nothing."""
    part, whole = (
        nbformat.reads(render_notebook(each, "r.json"), as_version=4).cells[0].source for each in (mixed, vacuous)
    )
    assert "This run is a part of the suite: items deselected: 2; items lost: 1." in part
    assert "a part of the suite" not in whole


def test_a_rebuilt_report_has_the_same_notebook(mixed, tmp_path):
    """``pytest-unineuron report`` writes it from the JSON report."""
    from pytest_unineuron.cli.main import main

    write.write_reports(mixed, tmp_path / "first")
    assert main(["report", str(tmp_path / "first" / write.REPORT), "--out", str(tmp_path / "second")]) == 0
    first, second = ((tmp_path / folder / write.NOTEBOOK).read_text("utf-8") for folder in ("first", "second"))
    assert json.loads(first) == json.loads(second)


def test_writing_needs_no_notebook_library(mixed, monkeypatch):
    """The plugin does not depend on nbformat."""
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert json.loads(render_notebook(mixed, "report.json"))["nbformat"] == 4
