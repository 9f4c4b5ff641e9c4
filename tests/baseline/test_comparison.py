"""A run beside an accepted one: every trial × case ends in exactly one state, for a reason."""

from dataclasses import replace
from datetime import date

import pytest

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.errors import OptionError
from pytest_unineuron.evidence.outcome import Outcome
from tests.evidence.made import arm, evidence, share

KEY = ("heavy", "news", "m")
GOOD, BAD = arm(share(0.9)), arm(share(0.1))


def state(before, after, **said):
    """The state of the only case."""
    (entry,) = compare(before, after, **said).entries
    return entry


def only(result, **said):
    return evidence({KEY: result}, **said)


def test_a_run_is_the_same_as_itself():
    """And the counts add up."""
    run = evidence({KEY: GOOD, ("dense", "", "m"): BAD, ("rare", "news", "m"): None})
    found = compare(run, run)
    assert {str(s): n for s, n in found.counts.items() if n} == {"same": 2, "not run": 1}
    assert sum(found.counts.values()) == len(found.entries) == 3
    assert str(found) == "3 trials × cases: 1 not run, 2 same"


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
        ("VACUOUS", "FAIL", "improved"),
        ("FAIL", "FAIL", "same"),
        ("NA", "NA", "same"),
    ],
)
def test_a_change_of_outcome_is_a_change(before, after, expected):
    """PASS is best; then nothing said, counter-evidence, a trial that proves nothing, a broken one."""

    def made(outcome):
        if outcome in ("PASS", "VACUOUS"):
            return only(GOOD, control=0.9 if outcome == "VACUOUS" else 0.0)
        return only(arm(share(0.1), outcome=Outcome(outcome)))

    entry = state(made(before), made(after))
    assert entry.state == expected
    if before != after:
        assert entry.reason.startswith(f"{before} before, {after} now: ")


def test_what_vanished_is_missing():
    """Renamed or removed: the old name is missing, the new one is new."""
    found = compare(only(GOOD), evidence({("heavier", "news", "m"): GOOD}))
    assert [(e.name, e.state) for e in found.entries] == [("heavy[news]", "missing"), ("heavier[news]", "new")]
    assert found.entries[0].reason == "it was PASS and is not there any more"


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
def test_what_was_left_out_on_purpose_did_not_run(asked, reason):
    """Another folder, node id, model or corpus: sharded away, and not missing."""
    entry = state(only(GOOD), evidence({}, asked=asked))
    assert entry.state is CaseState.NOT_RUN
    assert reason in entry.reason


@pytest.mark.parametrize("path", [".", "evals", "evals/test_made.py", "evals/test_made.py::test_heavy"])
def test_what_was_asked_for_and_is_not_there_is_missing(path):
    """However it was asked for."""
    asked = {"paths": [path], "models": ["m"], "corpora": ["news"]}
    assert state(only(GOOD), evidence({}, asked=asked)).state is CaseState.MISSING


def test_what_was_never_reached_is_missing():
    """A run that ended early has not held what it did not come to."""
    entry = state(only(GOOD), only(arm(outcome=Outcome.NOT_RUN, reason="never reached")))
    assert (entry.state, entry.reason) == (CaseState.MISSING, "never reached")


def test_deselected_is_not_run_and_what_was_never_accepted_is_new():
    """A baseline without a result has nothing to say."""
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
def test_another_setting_is_another_question(change, reason):
    """Policy, precision, amount of text: nothing can be said."""
    entry = state(only(GOOD), only(BAD, **change))
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, reason)


def test_another_bound_is_another_claim():
    """An edited threshold does not make a failing trial the same, nor better."""
    entry = state(only(arm(share(0.4))), only(arm(share(0.4, above=0.3))))
    assert entry.state is CaseState.INCOMPARABLE
    assert entry.reason == "share was claimed > 0.5 and is claimed > 0.3"


def test_a_claim_that_was_dropped_is_not_the_same():
    """Measuring less is no way to pass."""
    entry = state(only(arm(share(0.9), share(0.8, name="again"))), only(arm(share(0.9))))
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "no longer claims again")


@pytest.mark.parametrize(("kind", "what", "word"), [("models", "weights", "weights"), ("corpora", "corpus", "text")])
def test_other_weights_or_texts_are_compared_only_when_asked(kind, what, word):
    """By content, not by name."""
    label = {"models": "m", "corpora": "news"}[kind]
    before, after = only(GOOD), only(arm(share(0.1), **{kind: {label: "9" * 64}}))
    entry = state(before, after)
    assert entry.state is CaseState.INCOMPARABLE
    assert entry.reason.startswith(f"other {word}")
    assert f"--unineuron-across={what}" in entry.reason
    assert state(before, after, across=[what]).state is CaseState.REGRESSED


def test_other_seeds_are_never_compared():
    """Universality against other seeds is another measurement."""
    before = only(arm(share(0.9), models={"m": "1", "seed-1": "3"}))
    after = only(arm(share(0.9), models={"m": "1", "seed-2": "3"}))
    entry = state(before, after, across=["weights"])
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "models were m, seed-1 and are m, seed-2")


def test_a_move_beyond_the_intervals_is_a_regression_although_it_still_passes():
    """Down from 0.9 to 0.7 with errors of 0.02; up is better, and within noise is the same."""
    before = only(arm(share(0.9, error=0.02)))
    entry = state(before, only(arm(share(0.7, error=0.02))))
    assert entry.state is CaseState.REGRESSED
    assert entry.reason == "PASS as before, but share went from 0.9 [0.857, 0.943] to 0.7 [0.657, 0.743]"
    assert state(before, only(arm(share(0.88, error=0.02)))).state is CaseState.SAME
    assert state(only(arm(share(0.7, error=0.02))), before).state is CaseState.IMPROVED


def test_towards_the_bound_is_worse_on_either_side():
    """A claim to be below something gets worse by growing."""

    def low(value):
        return only(arm(share(value, above=None, below=0.5, error=None)))

    assert state(low(0.1), low(0.2)).state is CaseState.REGRESSED
    assert state(low(0.2), low(0.1)).state is CaseState.IMPROVED


def test_what_a_null_shows_too_cannot_get_worse():
    """A vacuous trial stays one, however far its numbers move."""
    runs = [only(arm(share(value, error=0.001)), control=0.95) for value in (0.9, 0.6)]
    assert [run.trials[0].subjects[0].outcome for run in runs] == [Outcome.VACUOUS] * 2
    assert state(*runs).state is CaseState.SAME


def test_one_of_many_measurements_moves_by_chance():
    """p = 0.02 alone is a change; among a hundred it is not (Holm)."""
    names = [("heavy", "news", "m"), *((f"t{i}", "news", "m") for i in range(99))]
    before = {key: arm(share(0.9, error=0.02)) for key in names}
    after = {**before, names[0]: arm(share(0.825, error=0.02))}
    alone = compare(*(evidence({names[0]: run[names[0]]}) for run in (before, after)))
    assert alone.counts["regressed"] == 1
    assert compare(evidence(before), evidence(after)).counts["regressed"] == 0


WAIVER = Waiver.parse("heavy[news] on m until 2026-12-31: the new tokenizer, see issue 12")


def test_a_waiver_names_the_trial_the_end_and_the_reason():
    """It covers what regressed, until its day is over."""
    entry = state(only(GOOD), only(BAD), waivers=[WAIVER], today=date(2026, 12, 31))
    assert entry.state is CaseState.WAIVED
    assert entry.reason.startswith(
        "until 2026-12-31, for the new tokenizer, see issue 12 (it is regressed: PASS before"
    )
    over = compare(only(GOOD), only(BAD), waivers=[WAIVER], today=date(2027, 1, 1))
    assert over.entries[0].state is CaseState.REGRESSED
    assert over.remarks == (f"the waiver of {WAIVER} has expired; renew it with a new date, or fix what it waits for",)


def test_a_clock_that_runs_behind_does_not_revive_a_waiver():
    """It is at least as late as the run itself, and the baseline, say."""
    after = only(BAD, created="2027-01-02T00:00:00+00:00")
    assert state(only(GOOD), after, waivers=[WAIVER], today=date(2020, 1, 1)).state is CaseState.REGRESSED


def test_a_waiver_that_waives_nothing_is_told():
    """What is the same is the same."""
    found = compare(only(GOOD), only(GOOD), waivers=[WAIVER], today=date(2026, 11, 2))
    assert found.entries[0].state is CaseState.SAME
    assert found.remarks == (f"the waiver of {WAIVER} waives nothing; leave it out",)


@pytest.mark.parametrize(
    "text",
    [
        "heavy[news]",
        "heavy[news] until 2026-12-31",
        "heavy[news] until 2026-13-31: x",
        "until 2026-12-31: x",
        "heavy[news] until 2026-12-31:  ",
        "",
    ],
)
def test_a_waiver_without_an_end_or_a_reason_is_refused(text):
    """In words that show the form."""
    with pytest.raises(OptionError, match=r"say 'TRIAL\[CORPUS\] on MODEL until 2027-01-31: REASON'"):
        Waiver.parse(text)


def test_a_waiver_covers_every_model_unless_it_names_one():
    """Names are compared whole."""
    every = Waiver.parse("heavy[news] until 2026-12-31: reason: with a colon")
    assert every.reason == "reason: with a colon"
    assert every.covers("heavy[news]", "", "m")
    assert every.covers("heavy[news]", "", "n")
    assert not WAIVER.covers("heavy[news]", "", "n")
    assert not WAIVER.covers("heavy[code]", "", "m")
    assert str(WAIVER) == "heavy[news] on m until 2026-12-31: the new tokenizer, see issue 12"


def test_a_waiver_can_be_about_one_variant():
    """A parametrized trial has as many cases as parameters."""
    one = Waiver.parse("heavy[news] n-3 until 2026-12-31: reason")
    assert one.covers("heavy[news]", "n-3", "m")
    assert not one.covers("heavy[news]", "n-4", "m")


def test_waived_away_is_not_compared():
    """Everything missing, everything waived: nothing was held against anything."""
    waivers = [Waiver.parse("heavy[news] until 2999-01-01: gone")]
    found = compare(only(GOOD), evidence({("other", "news", "m"): GOOD}), waivers=waivers)
    assert str(found) == "2 trials × cases: 1 waived, 1 new"
    assert found.compared == 0
    assert compare(only(GOOD), only(BAD), waivers=waivers).compared == 1


def test_a_name_can_be_used_again_and_again():
    """Each measurement is compared with the one in its place."""
    before = only(arm(share(0.95), share(0.8)))
    assert state(before, only(arm(share(0.95), share(0.8)))).state is CaseState.SAME
    entry = state(before, only(arm(share(0.55), share(0.8))))
    assert (entry.state, entry.reason) == (CaseState.REGRESSED, "PASS as before, but share went from 0.95 to 0.55")
    assert state(before, only(arm(share(0.95)))).reason == "no longer claims share"
    two_bounds = only(arm(share(0.95), share(0.8, above=0.3)))
    assert state(two_bounds, two_bounds).state is CaseState.SAME


def test_to_claim_less_is_no_improvement():
    """A failing claim that was deleted, a minimum that is not needed any more, a trial that is skipped."""
    failing = only(arm(share(0.9), share(0.1, name="again")))
    assert state(failing, only(arm(share(0.9)))).reason == "no longer claims again"
    needing = only(arm(replace(share(9000.0, name="tokens"), needed=True), share(0.9)))
    assert state(needing, only(arm(share(0.9)))).reason == "no longer claims tokens"
    skipped = state(only(BAD), only(arm(outcome=Outcome.NA, reason="no such thing")))
    assert (skipped.state, skipped.reason) == (CaseState.INCOMPARABLE, "no longer claims share")


def test_a_trial_that_had_too_little_and_now_has_enough_improves():
    """It claims more than it came to before."""
    before = only(arm(replace(share(10.0, above=30.0, name="neurons"), needed=True), outcome=Outcome.NA, reason="few"))
    after = only(arm(replace(share(50.0, above=30.0, name="neurons"), needed=True), share(0.9)))
    assert state(before, after).state is CaseState.IMPROVED
    assert state(after, before).state is CaseState.REGRESSED


def test_what_cannot_be_measured_any_more_is_worse():
    """Also in a trial that fails as it did."""
    before = only(arm(share(0.9), share(0.1, name="again")))
    entry = state(before, only(arm(share(float("nan")), share(0.1, name="again"))))
    assert (entry.state, entry.reason) == (CaseState.REGRESSED, "FAIL as before, but share cannot be measured any more")


def test_a_trial_that_is_not_primary_any_more_is_another():
    """Its criterion stood or fell with it."""
    demoted = only(GOOD, primary=False)
    entry = state(only(GOOD, primary=True), demoted)
    assert (entry.state, entry.reason) == (CaseState.INCOMPARABLE, "it was primary and is not")


def test_under_another_root_folder_nothing_was_left_out_by_path():
    """The same trials by other paths: what is not there is missing, wherever it was looked for."""
    keys = [KEY, ("dense", "", "m")]
    asked = {"paths": ["elsewhere"], "models": ["m"], "corpora": ["prose", "news"]}
    after = evidence({KEY: GOOD}, asked=asked, file="elsewhere/test_made.py")
    assert compare(evidence(dict.fromkeys(keys, GOOD)), after).counts[CaseState.MISSING] == 1


def test_what_last_failed_left_out_did_not_run():
    """--lf does not collect what passed."""
    asked = {"paths": ["."], "models": ["m"], "corpora": ["news"], "part": ["--lf"]}
    entry = state(only(GOOD), evidence({}, asked=asked))
    assert (entry.state, entry.reason) == (CaseState.NOT_RUN, "--lf left it out")
