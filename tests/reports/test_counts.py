"""All forms of one report count the same: cases, of which a trial with parameters has several on a model."""

import re

import pytest

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.outcome import DESELECTED, NOT_APPLICABLE, ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.summary import report_data, summary_data
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.reports.markdown import render_markdown
from pytest_unineuron.reports.notebook_cells import closing_assessment, failed_trials, missing_evidence
from pytest_unineuron.reports.page import render_page
from pytest_unineuron.reports.terminal import report_lines
from tests.evidence.made import arm, share

ABSENT = ArmResult(Outcome.NA, "no heads", notes=(NOT_APPLICABLE,))
FOUND = {
    ("wide", "n-1"): arm(share(0.9)),
    ("wide", "n-2"): arm(share(0.1)),
    ("wide", "n-3"): arm(share(0.2)),
    ("wide", "n-4"): None,
    ("gone", "n-1"): None,
    ("gone", "n-2"): None,
    ("heads", "n-1"): ABSENT,
    ("heads", "n-2"): ABSENT,
}


@pytest.fixture
def evidence():
    """Evidence of three trials on one model, with eight cases."""
    planned, results = [], {}
    for (name, variant), result in FOUND.items():
        for control in ("", "untrained"):
            case = Case("m", control=control, variant=variant)
            planned.append(PlannedItem(f"{name}[{case.id}-{variant}]", Trial(name, "GT2", "a claim", "x"), case))
            results[planned[-1].nodeid] = DESELECTED if result is None else arm(share(0.0)) if control else result
    return build_evidence(planned, results, policy="all", accept_vacuous=False)


def test_the_terminal_counts_cases(evidence):
    """Its single lines add up to its last one."""
    lines = [line for line, _ in report_lines(evidence, 200)]
    assert "Cases: 1 PASS, 2 FAIL, 3 NOT_RUN, 2 not applicable." in lines[-1]
    assert "3 cases did not run" in lines
    assert "does not apply to m: 2 cases (no heads)" in lines
    assert {"PASS (1)", "FAIL (2)"} <= {line.partition(":")[0] for line in lines}


def test_the_rationale_counts_and_names_cases(evidence):
    """A case has the name of its trial, and its parameters."""
    text = summary_data(evidence)["Rationale"]["GT2_DataGeneralization"]
    assert ": of 6 cases 1 passed, 2 failed, 3 not run." in text
    assert "Passed: wide n-1: " in text
    assert "Not applicable (no heads): heads n-1, heads n-2." in text


def test_the_notebook_counts_and_lists_cases(evidence):
    """Each in the cell of its own outcome."""
    data = report_data(evidence)
    assert "Cases: 2 FAIL, 3 NOT_RUN, 1 PASS; 2 do not apply to their model." in closing_assessment(data)
    assert re.findall("^FAIL  .*", failed_trials(data, "GT2"), re.MULTILINE) == [
        "FAIL  wide n-2 on m",
        "FAIL  wide n-3 on m",
    ]
    assert missing_evidence(data, "GT2").count("NOT_RUN  ") == 3
    assert "Does not apply to m (no heads): heads n-1, heads n-2" in missing_evidence(data, "GT2")


def test_the_markdown_has_a_row_for_each_case(evidence):
    """Its first line is the last of the terminal."""
    text = render_markdown(evidence)
    rows = re.findall(r"^\| (?:wide|gone) n-\d \| m \| (\w+) ", text, re.MULTILINE)
    assert rows == ["PASS", "FAIL", "FAIL", "NOT_RUN", "NOT_RUN", "NOT_RUN"]
    assert "3 NOT\\_RUN, 2 not applicable" in text


def test_the_page_names_each_case_that_does_not_apply(evidence):
    """Under the id to which a comparison links."""
    text = render_page(evidence)
    assert all(f">heads n-{number}</bdi>" in text for number in (1, 2))
    assert "3 NOT_RUN, 2 not applicable" in text
