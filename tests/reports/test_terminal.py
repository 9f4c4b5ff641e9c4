"""What the terminal shows, from evidence made by hand."""

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.measurement import make_measurement
from pytest_unineuron.evidence.outcome import ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.reports.terminal import report_lines

CLAIM = {"above": 0.5, "null": 0.3}


def evidence(*trials, **more):
    """Trials given as (name, model, value on the subject, value on the control)."""
    planned, results = [], {}
    for name, model, value, null in trials:
        trial = Trial(name, "GT1", "A claim.", "test")
        for control, number in (("", value), ("untrained", null)):
            item = PlannedItem(f"{name}[{model}~{control}]", trial, Case(model, control=control))
            planned.append(item)
            if number is not None:
                taken = make_measurement("size", number, **CLAIM)
                outcome = Outcome.PASS if number > 0.5 else Outcome.FAIL
                results[item.nodeid] = ArmResult(outcome, str(taken), (taken,))
    return build_evidence(planned, results, policy="all", accept_vacuous=False, **more)


def text(*trials, width=None, **more):
    return "\n".join(line for line, _ in report_lines(evidence(*trials, **more), width))


def test_a_row_has_value_bound_control_and_outcome():
    """Trial by model."""
    shown = text(("good", "m", 0.9, 0.1), ("bad", "m", 0.2, 0.1))
    assert [line.split() for line in shown.splitlines()[1:3]] == [
        ["good", "m", "size", "0.9", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "PASS"],
        ["bad", "m", "size", "0.2", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "FAIL"],
    ]


def test_a_narrow_terminal_gets_one_trial_below_the_other():
    """No line is longer than it must be."""
    shown = text(("good", "m", 0.9, 0.1), width=80)
    assert shown.splitlines()[:2] == [
        "PASS     good on m",
        "         size 0.9, claimed > 0.5 (controls < 0.3); worst control 0.1 (untrained)",
    ]


def test_a_vacuous_trial_names_the_control_that_shows_it_too():
    """And one that only comes near, with the limit it broke."""
    shown = text(("empty", "m", 0.9, 0.8), ("close", "m", 0.9, 0.4))
    assert "VACUOUS: empty on m: untrained shows it too: size = 0.8, claimed > 0.5" in shown
    assert "VACUOUS: close on m: untrained comes too near: size = 0.4, beyond the 0.3 allowed for controls" in shown


def test_what_did_not_run_is_counted_not_listed():
    """A subset of the suite shows the subset."""
    shown = text(("good", "m", 0.9, 0.1), ("gone", "m", None, None))
    assert "gone" not in shown
    assert "and 1 that did not run" in shown


def test_the_checklist_has_a_line_for_every_criterion():
    """In the notebook's form, with one sentence on the whole."""
    shown = text(("good", "a", 0.9, 0.1), ("good", "b", 0.2, 0.1))
    assert "  [✗] GT1 new model: FAIL   (a PASS, b FAIL)" in shown
    assert "  [—] GT2 new data: NA   (a NA, b NA)" in shown
    assert "Overall: not supported: GT1; undecided: GT2, GT3. Trials: 1 PASS, 1 FAIL. Forward passes: 0." in shown


def test_nothing_at_all_is_shown_as_nothing():
    """No trial, no crash."""
    assert "Trials: none" in text()


def test_lost_results_are_shown():
    """One line each."""
    assert "INCOMPLETE: worker gw1 vanished" in text(("good", "m", 0.9, 0.1), incomplete=("worker gw1 vanished",))
