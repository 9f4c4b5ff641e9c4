"""A run compared with an accepted one: every case is in exactly one state, for a reason."""

from dataclasses import replace
from fnmatch import fnmatch

import pytest

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.gate import Gate
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import DESELECTED, Outcome
from pytest_unineuron.evidence.unit_contrast import UnitContrast
from tests.baseline.one_case import BAD, GOOD, KEY, only, state
from tests.evidence.made import arm, evidence, share


def test_a_run_is_the_same_as_itself():
    """No case of a run compared with itself has changed, and the counts add up."""
    run = evidence({KEY: GOOD, ("dense", "", "m"): BAD, ("rare", "news", "m"): None})
    found = compare(run, run)
    assert {str(s): n for s, n in found.counts.items() if n} == {"same": 2, "not run": 1}
    assert sum(found.counts.values()) == len(found.entries) == 3
    assert str(found) == "3 cases: 1 not run, 2 same"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("PASS", "FAIL", "regressed"),
        ("PASS", "NA", "regressed"),
        ("PASS", "VACUOUS", "regressed"),
        ("PASS", "ERROR", "regressed"),
        ("NA", "FAIL", "regressed"),
        ("FAIL", "VACUOUS", "regressed"),
        ("FAIL", "ERROR", "regressed"),
        ("FAIL", "PASS", "improved"),
        ("NA", "PASS", "improved"),
        ("VACUOUS", "PASS", "improved"),
        ("VACUOUS", "FAIL", "regressed"),
        ("VACUOUS", "NA", "regressed"),
        ("FAIL", "FAIL", "same"),
        ("NA", "NA", "same"),
    ],
)
def test_a_worse_outcome_is_regressed_and_a_better_one_improved(before, after, expected):
    """From best to worst: PASS, NA, FAIL, VACUOUS, ERROR."""

    def made(outcome):
        if outcome in ("PASS", "VACUOUS"):
            return only(GOOD, control=0.9 if outcome == "VACUOUS" else 0.0)
        return only(arm(share(0.1), outcome=Outcome(outcome)))

    entry = state(made(before), made(after))
    assert entry.state == expected
    if before != after:
        assert entry.reason.startswith(f"{before} before, {after} now: ")


def test_a_case_whose_control_was_deselected_is_incomparable():
    """It has been held against fewer controls, so its outcome says nothing about a change of the model."""
    entry = state(only(GOOD), only(GOOD, control=DESELECTED))
    assert (entry.state, entry.reason) == ("incomparable", "its controls were untrained and are none")


def test_a_renamed_case_is_missing_and_new():
    """The old name of a case is missing, and its new name is new."""
    found = compare(only(GOOD), evidence({("heavier", "news", "m"): GOOD}))
    assert [(e.name, e.state) for e in found.entries] == [("heavy[news]", "missing"), ("heavier[news]", "new")]
    assert found.entries[0].reason == "it was PASS and is missing now"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"paths": ["evals/gt1_model"], "models": ["m"], "corpora": ["news"]},
            "test_made.py::test_heavy was not",
        ),
        ({"paths": ["evals/test_made.py::test_dense"], "models": ["m"], "corpora": ["news"]}, "was not asked for"),
        ({"paths": ["evals"], "models": ["other"], "corpora": ["news"]}, "m was not under test"),
        ({"paths": ["evals"], "models": ["m"], "corpora": ["code"]}, "news was not asked for"),
    ],
)
def test_a_case_that_was_not_asked_for_is_not_run(asked, reason):
    """A case of another path, node id, model or corpus than those asked for is not missing."""
    entry = state(only(GOOD), evidence({}, asked=asked))
    assert entry.state is CaseState.NOT_RUN
    assert reason in entry.reason


@pytest.mark.parametrize("path", [".", "evals", "evals/test_made.py", "evals/test_made.py::test_heavy"])
def test_a_case_that_was_asked_for_and_is_absent_is_missing(path):
    """A case is missing whether its folder, file or function was asked for."""
    asked = {"paths": [path], "models": ["m"], "corpora": ["news"]}
    assert state(only(GOOD), evidence({}, asked=asked)).state is CaseState.MISSING


def test_a_case_that_was_never_reached_is_missing():
    """A case that a run did not reach before it ended is missing."""
    entry = state(only(GOOD), only(arm(outcome=Outcome.NOT_RUN, reason="never reached")))
    assert (entry.state, entry.reason) == (CaseState.MISSING, "never reached")


def test_a_deselected_case_is_not_run_and_one_without_accepted_result_is_new():
    """A case that the baseline lists without a result is new."""
    assert state(only(GOOD), only(None)).state is CaseState.NOT_RUN
    assert state(only(None), only(GOOD)).state is CaseState.NEW
    assert state(evidence({}), only(BAD)).state is CaseState.NEW


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"settings": {"policy": "any"}}, "policy was primary and is any"),
        ({"settings": {"tokens": 9}}, "tokens was 44000 and is 9"),
        ({"settings": {"dtype": "float16"}}, "dtype was float32 and is float16"),
    ],
)
def test_another_setting_makes_a_case_incomparable(change, reason):
    """Cases measured with another policy, precision or amount of text are not compared."""
    entry = state(only(GOOD), only(BAD, **change))
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, reason)


def test_another_bound_makes_a_case_incomparable():
    """A failing case with an edited bound is neither the same nor better."""
    entry = state(only(arm(share(0.4))), only(arm(share(0.4, above=0.3))))
    assert entry.state is CaseState.INCOMPARABLE
    assert entry.reason == "share was claimed to be > 0.5, now > 0.3"


def test_a_dropped_claim_makes_a_case_incomparable():
    """A case that passes because it claims less is not the same."""
    entry = state(only(arm(share(0.9), share(0.8, name="again"))), only(arm(share(0.9))))
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "no longer claims again")


@pytest.mark.parametrize(("kind", "what", "word"), [("models", "weights", "weights"), ("corpora", "corpus", "text")])
def test_other_weights_and_texts_are_compared_only_with_across(kind, what, word):
    """Models and corpora are compared by content, and differences need --unineuron-across."""
    label = {"models": "m", "corpora": "news"}[kind]
    before, after = only(GOOD), only(arm(share(0.1), **{kind: {label: "9" * 64}}))
    entry = state(before, after)
    assert entry.state is CaseState.INCOMPARABLE
    assert entry.reason.startswith(f"other {word}")
    assert f"--unineuron-across={what}" in entry.reason
    assert state(before, after, across=[what]).state is CaseState.REGRESSED


def test_other_seeds_are_never_compared():
    """A comparison with other seeds is another measurement, also with --unineuron-across=weights."""
    before = only(arm(share(0.9), models={"m": "1", "seed-1": "3"}))
    after = only(arm(share(0.9), models={"m": "1", "seed-2": "3"}))
    entry = state(before, after, across=["weights"])
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "models were m, seed-1 and are m, seed-2")


def test_a_significantly_worse_value_is_a_regression_of_a_passing_case():
    """With errors of 0.02, 0.9 to 0.7 is a regression, the opposite an improvement, and 0.9 to 0.88 the same."""
    before = only(arm(share(0.9, error=0.02)))
    entry = state(before, only(arm(share(0.7, error=0.02))))
    assert entry.state is CaseState.REGRESSED
    assert entry.reason == "PASS as before, but share went from 0.9 [0.857, 0.943] to 0.7 [0.657, 0.743]"
    assert state(before, only(arm(share(0.88, error=0.02)))).state is CaseState.SAME
    assert state(only(arm(share(0.7, error=0.02))), before).state is CaseState.IMPROVED


def test_a_value_nearer_to_its_bound_is_worse_on_either_side():
    """For a claim to be below a bound, a larger value is worse."""

    def low(value):
        return only(arm(share(value, above=None, below=0.5, error=None)))

    assert state(low(0.1), low(0.2)).state is CaseState.REGRESSED
    assert state(low(0.2), low(0.1)).state is CaseState.IMPROVED


def vacuous(value, control=0.95):
    return only(arm(share(value, error=0.001)), control=control)


def test_values_of_a_model_are_compared_whatever_its_controls_did():
    """A model that got worse is regressed where a null shows the claim in both runs, and where it no longer does."""
    before = vacuous(0.9)
    for after in (vacuous(0.6), vacuous(0.6, control=0.1)):
        entry = state(before, after)
        assert (entry.before, entry.state) == (Outcome.VACUOUS, CaseState.REGRESSED)
        assert "share went from 0.9" in entry.reason
    assert state(vacuous(0.6), before).state is CaseState.IMPROVED
    assert state(before, before).state is CaseState.SAME


def test_a_model_that_collapses_is_regressed():
    """Neither the model nor a null shows the claim after its weights were replaced by noise."""
    entry = state(vacuous(0.9), vacuous(0.02, control=0.02))
    assert (entry.before, entry.after, entry.state) == (Outcome.VACUOUS, Outcome.FAIL, CaseState.REGRESSED)
    assert entry.reason.endswith("(the model itself: PASS before, FAIL now)")


def test_a_case_whose_model_never_showed_the_claim_does_not_improve_with_its_controls():
    """That a null shows the claim no longer is no news of the model; that the model got better is."""
    before = vacuous(0.2)
    assert state(before, vacuous(0.2, control=0.1)).state is CaseState.SAME
    assert state(before, vacuous(0.3, control=0.1)).state is CaseState.IMPROVED
    assert state(before, vacuous(0.1, control=0.1)).state is CaseState.REGRESSED


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            ("heavy", "news", "fresh"),
            "the model is m in the baseline and fresh in this run; *--unineuron-label=m=./fresh",
        ),
        (
            ("heavy", "mine", "m"),
            "the corpus is news in the baseline and mine in this run; *--unineuron-label=news=mine.txt",
        ),
        (("other", "news", "m"), ""),
    ],
)
def test_runs_without_a_common_label_name_the_option_that_maps_them(after, words):
    """The labels of both runs are named, and what was typed for the model."""
    asked = {"models": ["fresh"], "corpora": ["prose", "mine"]}
    typed = {"model": ["./fresh"], "corpus": ["mine.txt"]}
    found = compare(only(GOOD), evidence({after: GOOD}, asked=asked, settings=typed))
    assert found.compared == 0
    assert fnmatch(found.other_labels, words)
    (reason,) = [why for _, why in Gate("regression", found).reasons(only(GOOD)) if why.startswith("nothing")]
    assert reason.endswith(found.other_labels or "in this run")


def test_changes_are_corrected_for_their_number():
    """A change with p = 0.02 is significant alone, and not among a hundred measurements (Holm)."""
    names = [("heavy", "news", "m"), *((f"t{i}", "news", "m") for i in range(99))]
    before = {key: arm(share(0.9, error=0.02)) for key in names}
    after = {**before, names[0]: arm(share(0.825, error=0.02))}
    alone = compare(*(evidence({names[0]: run[names[0]]}) for run in (before, after)))
    assert alone.counts["regressed"] == 1
    assert compare(evidence(before), evidence(after)).counts["regressed"] == 0


def test_measurements_of_one_name_are_compared_in_order():
    """The first measurement of a name is compared with the first, and the second with the second."""
    before = only(arm(share(0.95), share(0.8)))
    assert state(before, only(arm(share(0.95), share(0.8)))).state is CaseState.SAME
    entry = state(before, only(arm(share(0.55), share(0.8))))
    assert (entry.state, entry.reason) == (CaseState.REGRESSED, "PASS as before, but share went from 0.95 to 0.55")
    assert state(before, only(arm(share(0.95)))).reason == "no longer claims share"
    two_bounds = only(arm(share(0.95), share(0.8, above=0.3)))
    assert state(two_bounds, two_bounds).state is CaseState.SAME


def test_claiming_less_is_not_an_improvement():
    """Deleting a failing claim, dropping a minimum and skipping a trial make a case incomparable."""
    failing = only(arm(share(0.9), share(0.1, name="again")))
    assert state(failing, only(arm(share(0.9)))).reason == "no longer claims again"
    needing = only(arm(replace(share(9000.0, name="tokens"), needed=True), share(0.9)))
    assert state(needing, only(arm(share(0.9)))).reason == "no longer claims tokens"
    skipped = state(only(BAD), only(arm(outcome=Outcome.NA, reason="no such thing")))
    assert (skipped.state, skipped.reason) == (CaseState.INCOMPARABLE, "no longer claims share")


def test_a_case_whose_minimum_is_met_now_improves():
    """A case below its minimum claims less, and is compared nevertheless."""
    before = only(arm(replace(share(10.0, above=30.0, name="neurons"), needed=True), outcome=Outcome.NA, reason="few"))
    after = only(arm(replace(share(50.0, above=30.0, name="neurons"), needed=True), share(0.9)))
    assert state(before, after).state is CaseState.IMPROVED
    assert state(after, before).state is CaseState.REGRESSED


def test_a_value_that_became_undefined_is_a_regression():
    """A case that fails as before regresses if a claimed value is undefined now."""
    before = only(arm(share(0.9), share(0.1, name="again")))
    entry = state(before, only(arm(share(float("nan")), share(0.1, name="again"))))
    assert (entry.state, entry.reason) == (CaseState.REGRESSED, "FAIL as before, but share cannot be measured any more")


def test_a_trial_that_is_no_longer_primary_is_incomparable():
    """Whether a trial is primary decides its criterion, so it is part of the question."""
    demoted = only(GOOD, primary=False)
    entry = state(only(GOOD, primary=True), demoted)
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "it was primary and is not")


def test_with_another_root_folder_absent_cases_are_missing():
    """If the paths of trials differ, the paths asked for do not excuse a missing case."""
    keys = [KEY, ("dense", "", "m")]
    asked = {"paths": ["elsewhere"], "models": ["m"], "corpora": ["prose", "news"]}
    after = evidence({KEY: GOOD}, asked=asked, file="elsewhere/test_made.py")
    assert compare(evidence(dict.fromkeys(keys, GOOD)), after).counts[CaseState.MISSING] == 1


def test_a_case_left_out_by_last_failed_is_not_run():
    """pytest's --lf does not collect cases that passed."""
    asked = {"paths": ["."], "models": ["m"], "corpora": ["news"], "part": ["--lf"]}
    entry = state(only(GOOD), evidence({}, asked=asked))
    assert (entry.state, entry.reason) == (CaseState.NOT_RUN, "--lf left it out")


def test_units_that_collapse_are_a_regression():
    """The claim is about the probability against a control, and the median unit may stay what it was."""

    def run(probability):
        made = UnitContrast(probability, probability - 0.02, probability + 0.02, "made", 0.0, ((0, probability),))
        claim = {"by_unit": True, "higher_by": 0.56}
        subject = arm(Measurement("n", 5.0, low=4.9, high=5.1, method="made", **claim))
        return only(subject, control=arm(Measurement("n", 0.0, contrast=made, **claim)))

    found = state(run(0.9), run(0.65))
    assert found.state is CaseState.REGRESSED
    assert "n against untrained went from 0.9 [0.88, 0.92] to 0.65 [0.63, 0.67]" in found.reason
    assert state(run(0.9), run(0.9)).state is CaseState.SAME
    assert state(run(0.65), run(0.9)).state is CaseState.IMPROVED
