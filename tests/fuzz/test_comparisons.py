"""Comparisons of any two runs: every case is in one state, and waivers change nothing else."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.baseline.comparison import WAIVABLE_STATES, CaseState, compare
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.evidence.outcome import Outcome
from tests.evidence.made import arm, evidence, share
from tests.fuzz import damage

names = st.tuples(st.sampled_from("abc"), st.sampled_from(["", "news"]), st.sampled_from(["m", "n"]))
digests = st.sampled_from(["1" * 64, "3" * 64])
measured = st.builds(
    lambda value, above, error, weights: arm(share(value, above=above, error=error), models={"m": weights}),
    st.sampled_from([0.1, 0.5, 0.6, 0.9]),
    st.sampled_from([0.5, 0.55]),
    st.none() | st.sampled_from([0.01, 0.3]),
    digests,
)
ended = st.sampled_from([Outcome.ERROR, Outcome.NA, Outcome.FAIL]).map(lambda o: arm(outcome=o, reason="so"))
runs = st.builds(
    lambda cases, control, day: evidence(cases, control=control, created=f"2026-11-{day:02}T00:00:00+00:00"),
    st.dictionaries(names, st.none() | measured | ended, max_size=6),
    st.sampled_from([0.0, 0.9]),
    st.integers(1, 28),
)
waivers = st.lists(
    st.builds(
        Waiver,
        st.sampled_from(["a", "b[news]", "c", "x"]),
        st.sampled_from(["", "m", "n"]),
        st.dates(date(2026, 10, 1), date(2026, 12, 31)),
        st.just("because"),
    ),
    max_size=4,
    unique=True,
)
TODAY = date(2026, 11, 15)


def cases(run):
    """The name, model and variant of every case of a run."""
    return {(each.record.name, each.subject.model, each.case.variant) for each in run.cases}


@damage.fuzz_settings(75)
@given(runs, runs)
def test_every_case_of_either_run_is_in_one_state(before, after):
    """The entries are the union of the cases of both runs, and their counts add up."""
    found = compare(before, after, today=TODAY)
    named = [(entry.name, entry.model, entry.variant) for entry in found.entries]
    assert len(named) == len(set(named))
    assert set(named) == cases(before) | cases(after)
    assert sum(found.counts.values()) == len(found.entries)


@damage.fuzz_settings(40)
@given(runs)
def test_a_run_is_the_same_as_itself(run):
    """No case of a run compared with itself is regressed, improved, new, missing or incomparable."""
    assert {entry.state for entry in compare(run, run, today=TODAY).entries} <= {CaseState.SAME, CaseState.NOT_RUN}


@damage.fuzz_settings(75)
@given(runs, runs, waivers)
def test_only_cases_with_a_valid_waiver_change_their_state(before, after, given_waivers):
    """A case is waived if it is regressed, missing or incomparable and a valid waiver names it, or unchanged."""
    plain = compare(before, after, today=TODAY).entries
    waived = compare(before, after, waivers=given_waivers, today=TODAY).entries
    today = max(TODAY, *(date.fromisoformat(run.created[:10]) for run in (before, after)))
    for one, other in zip(plain, waived, strict=True):
        about = [w for w in given_waivers if w.name == one.name and w.model in ("", one.model) and w.until >= today]
        if one.state in WAIVABLE_STATES and about:
            assert other.state is CaseState.WAIVED
        else:
            assert one == other


@damage.fuzz_settings(40)
@given(runs, runs)
def test_a_case_missing_in_one_direction_is_new_in_the_other(before, after):
    """If two runs are compared the other way round, missing cases are new."""
    there, back = compare(before, after, today=TODAY), compare(after, before, today=TODAY)
    missing = {(e.name, e.model) for e in there.of(CaseState.MISSING)}
    new = {(e.name, e.model) for e in back.of(CaseState.NEW)}
    assert missing <= new


@damage.fuzz_settings(40)
@given(runs, runs)
def test_a_lost_pass_is_regressed_or_incomparable(before, after):
    """A case that passed and does not pass now is regressed or incomparable, whatever its values."""
    for entry in compare(before, after, today=TODAY).entries:
        if entry.before is Outcome.PASS and entry.after in (Outcome.FAIL, Outcome.NA, Outcome.VACUOUS, Outcome.ERROR):
            assert entry.state in (CaseState.REGRESSED, CaseState.INCOMPARABLE)
