"""Trials that are deselected, repeated, or in a file that cannot be imported."""

import pytest

from pytest_unineuron.cli.main import main
from tests.faults.three import ONE, REPORT, outcomes, write

pytestmark = pytest.mark.fault

HOOK = "import pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n    {}\n"


def test_a_trial_whose_subject_is_deselected_does_not_pass(trials):
    found = write(trials).run(*ONE, "--deselect", "test_trials.py::test_here[neox-a]")
    assert outcomes(found) == "PASS NOT_RUN PASS"


def test_a_control_that_a_conftest_removes_runs_with_its_model(trials):
    trials.pytester.makeconftest(
        HOOK.format("items[:] = [i for i in items if i.name != 'test_here[neox-a~untrained]']")
    )
    found = write(trials).run(*ONE)
    assert outcomes(found) == "PASS PASS PASS"
    assert list(found.arms("here")) == ["untrained"]


def test_an_item_that_a_conftest_repeats_is_noted(trials):
    trials.pytester.makeconftest(HOOK.format("items += [i for i in items if i.name == 'test_here[neox-a]']"))
    found = write(trials).run(*ONE)
    assert outcomes(found) == "PASS PASS PASS"
    assert "ran again" in str(found.trial("here"))


def test_nothing_is_judged_if_a_file_cannot_be_imported(trials):
    trials.pytester.makepyfile(test_broken="import nothing_of_this_name")
    found = write(trials).run(*ONE)
    assert found.ret == 2
    assert found.report is None or outcomes(found) == "NOT_RUN NOT_RUN NOT_RUN"


@pytest.mark.parametrize(("args", "status"), [(["-k", "nothing"], 5), (["--collect-only"], 0)])
def test_a_run_without_trials_does_not_replace_a_report(trials, args, status):
    write(trials).run(*ONE)
    older = (trials.path / "evaluation" / REPORT).read_bytes()
    assert trials.run(*ONE, *args).ret == status
    assert (trials.path / "evaluation" / REPORT).read_bytes() == older


def test_a_run_with_lf_is_not_accepted_as_a_baseline(trials):
    cached = ("-p", "cacheprovider", *ONE)
    write(trials, 'measure("size", 0.1, above=0.5)').run(*cached)
    found = write(trials).run(*cached, "--lf")
    assert found.ret == 0
    report = trials.path / "evaluation" / REPORT
    assert main(["accept", str(report), "--baseline", str(trials.path / "b.json")]) == 23
