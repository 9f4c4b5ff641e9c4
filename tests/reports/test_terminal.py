"""The terminal report of evidence made by hand."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.outcome import ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.reports.terminal import report_lines

CLAIM = {"above": 0.5, "null": 0.3}


def evidence(*trials, **more):
    """Evidence of trials given as (name, model, value on the subject, value on the control, and perhaps a text)."""
    planned, results = [], {}
    for name, model, value, null, *corpus in trials:
        trial = Trial(name, "GT1", "A claim.", "test")
        for control, number in (("", value), ("untrained", null)):
            case = Case(model, *corpus, control=control)
            item = PlannedItem(f"{name}[{model}-{corpus}~{control}]", trial, case)
            planned.append(item)
            if number is not None:
                measurement = make_measurement("size", number, **CLAIM)
                outcome = Outcome.PASS if number > 0.5 else Outcome.FAIL
                results[item.nodeid] = ArmResult(outcome, str(measurement), (measurement,))
    return build_evidence(planned, results, policy="all", accept_vacuous=False, **more)


def text(*trials, width=200, verbose=False, **more):
    return "\n".join(line for line, _ in report_lines(evidence(*trials, **more), width, verbose=verbose))


def test_trials_stand_under_their_outcome_with_claim_and_value():
    shown = text(("good", "m", 0.9, 0.1), ("bad", "m", 0.2, 0.1), ("good", "n", 0.8, 0.1))
    paragraphs = dict(part.split("\n", 1) for part in shown.split("\n\n") if "\n" in part)
    assert paragraphs["PASS (2): shown by the model, beyond every control"].splitlines() == [
        "  good: size > 0.5",
        "      m 0.9",
        "      n 0.8",
    ]
    assert paragraphs["FAIL (1): not shown by the model, or not beyond every control"].splitlines() == [
        "  bad: size > 0.5",
        "      m 0.2",
    ]


def test_the_texts_of_a_trial_stand_together():
    """Trials run text by text."""
    names = ("good", "empty", "close")
    shown = text(
        *((name, "m", 0.9, {"empty": 0.8}.get(name, 0.1), corpus) for corpus in ("news", "code") for name in names)
    )
    assert "  good: size > 0.5\n      m on news 0.9\n      m on code 0.9\n  close: size > 0.5\n      m on news" in shown
    assert "  empty: m on news, m on code (untrained)" in shown


def test_the_table_of_a_verbose_run_has_value_bound_control_and_outcome():
    shown = text(("good", "m", 0.9, 0.1), ("bad", "m", 0.2, 0.1), verbose=True)
    rows = [line.split() for line in shown.splitlines() if line.startswith(("good", "bad"))]
    assert rows == [
        ["good", "m", "size", "0.9", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "PASS"],
        ["bad", "m", "size", "0.2", ">", "0.5", "(controls", "<", "0.3)", "0.1", "(untrained)", "FAIL"],
    ]


def test_a_narrow_verbose_terminal_gets_one_trial_below_the_other():
    """If the table is wider than the terminal, the cells of a row are below one another."""
    lines = text(("good", "m", 0.9, 0.1), width=75, verbose=True).splitlines()
    at = lines.index("PASS     good on m")
    assert lines[at + 1] == "         size 0.9, claimed > 0.5 (controls < 0.3); worst control 0.1 (untrained)"


@given(st.integers(60, 200))
def test_no_line_is_wider_than_the_terminal(width):
    trials = [
        (f"a_trial_with_a_long_name_{value}", "model", value, null) for value in (0.9, 0.2) for null in (0.1, 0.8)
    ]
    lines = text(*dict.fromkeys(trials), width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_a_vacuous_trial_names_the_controls_that_show_it_and_no_value():
    shown = text(("empty", "m", 0.9, 0.8), ("close", "m", 0.9, 0.4))
    assert "VACUOUS (2): shown by a control too, so it supports nothing" in shown
    assert "  empty: m (untrained)" in shown
    assert "  close: m (untrained too near)" in shown


def test_the_strongest_evidence_stands_under_its_criterion():
    """Of several passes, the one farthest beyond its bound."""
    shown = text(("good", "m", 0.7, 0.1), ("better", "m", 0.9, 0.1)).splitlines()
    (at,) = [number for number, line in enumerate(shown) if line.startswith("  [✓] GT1")]
    assert shown[at + 1] == "      better on m: size > 0.5: 0.9"


def test_trials_that_did_not_run_are_counted_and_not_listed():
    """A run of a part of the suite shows only that part."""
    shown = text(("good", "m", 0.9, 0.1), ("gone", "m", None, None))
    assert "gone" not in shown
    assert "1 case did not run" in shown


def test_the_checklist_has_a_line_for_every_criterion():
    """The checklist has the notebook's form and ends with one sentence on the whole."""
    shown = text(("good", "a", 0.9, 0.1), ("good", "b", 0.2, 0.1))
    basis = "signature, universality not tested"
    assert f"  [✗] GT1 new model: FAIL (a PASS, {basis}; b FAIL, {basis})" in shown
    assert "  [—] GT2 new data: NA\n" in shown
    assert "Overall: not supported: GT1; undecided: GT2, GT3. Cases: 1 PASS, 1 FAIL. Forward passes: 0." in shown


def test_an_empty_run_can_be_shown():
    """Evidence without any trial is shown as "Cases: none"."""
    assert "Cases: none" in text()


def test_lost_results_are_shown():
    """Each lost result has a line of its own."""
    assert "INCOMPLETE: worker gw1 vanished" in text(("good", "m", 0.9, 0.1), incomplete=("worker gw1 vanished",))
