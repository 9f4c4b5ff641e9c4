"""The terminal report of evidence made by hand."""

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.outcome import ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.reports.terminal import report_lines

CLAIM = {"above": 0.5, "null": 0.3}


def evidence(*trials, **more):
    """Evidence of trials given as (name, model, value on the subject, value on the control)."""
    planned, results = [], {}
    for name, model, value, null in trials:
        trial = Trial(name, "GT1", "A claim.", "test")
        for control, number in (("", value), ("untrained", null)):
            item = PlannedItem(f"{name}[{model}~{control}]", trial, Case(model, control=control))
            planned.append(item)
            if number is not None:
                measurement = make_measurement("size", number, **CLAIM)
                outcome = Outcome.PASS if number > 0.5 else Outcome.FAIL
                results[item.nodeid] = ArmResult(outcome, str(measurement), (measurement,))
    return build_evidence(planned, results, policy="all", accept_vacuous=False, **more)


def text(*trials, width=None, **more):
    return "\n".join(line for line, _ in report_lines(evidence(*trials, **more), width))


def test_a_row_has_value_bound_control_and_outcome():
    """Each trial and model has a row with the value, the bound, the worst control and the outcome."""
    shown = text(("good", "m", 0.9, 0.1), ("bad", "m", 0.2, 0.1))
    assert [line.split() for line in shown.splitlines()[1:3]] == [
        ["good", "m", "size", "0.9", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "PASS"],
        ["bad", "m", "size", "0.2", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "FAIL"],
    ]


def test_a_narrow_terminal_gets_one_trial_below_the_other():
    """If the table is wider than the terminal, the cells of a row are below one another."""
    shown = text(("good", "m", 0.9, 0.1), width=80)
    assert shown.splitlines()[:2] == [
        "PASS     good on m",
        "         size 0.9, claimed > 0.5 (controls < 0.3); worst control 0.1 (untrained)",
    ]


def test_a_vacuous_trial_names_the_control_and_the_limit():
    """The reason names the control that shows the effect, or the limit that a control exceeded."""
    shown = text(("empty", "m", 0.9, 0.8), ("close", "m", 0.9, 0.4))
    assert "VACUOUS: empty on m: untrained shows it too: size = 0.8, claimed > 0.5" in shown
    assert "VACUOUS: close on m: untrained comes too near: size = 0.4, beyond the 0.3 allowed for controls" in shown


def test_trials_that_did_not_run_are_counted_and_not_listed():
    """A run of a part of the suite shows only that part."""
    shown = text(("good", "m", 0.9, 0.1), ("gone", "m", None, None))
    assert "gone" not in shown
    assert "1 did not run" in shown


def test_the_checklist_has_a_line_for_every_criterion():
    """The checklist has the notebook's form and ends with one sentence on the whole."""
    shown = text(("good", "a", 0.9, 0.1), ("good", "b", 0.2, 0.1))
    basis = "signature, universality not tested"
    assert f"  [✗] GT1 new model: FAIL   (a PASS, {basis}; b FAIL, {basis})" in shown
    assert "  [—] GT2 new data: NA   (a NA; b NA)" in shown
    assert "Overall: not supported: GT1; undecided: GT2, GT3. Trials: 1 PASS, 1 FAIL. Forward passes: 0." in shown


def test_an_empty_run_can_be_shown():
    """Evidence without any trial is shown as "Trials: none"."""
    assert "Trials: none" in text()


def test_lost_results_are_shown():
    """Each lost result has a line of its own."""
    assert "INCOMPLETE: worker gw1 vanished" in text(("good", "m", 0.9, 0.1), incomplete=("worker gw1 vanished",))
