"""Damaged reports and baselines are refused in one sentence, or only what follows from their measurements is read."""

import json

import pytest
from hypothesis import given

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.gate import OK, TESTS_FAILED, Gate, read_baseline
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.options.sources import read as read_options
from tests.fuzz import damage

WHAT_TO_TYPE = ("pytest", "pip install")


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """The path of a report to be damaged."""
    return tmp_path_factory.mktemp("fuzz") / "damaged.json"


def read(file, content):
    """The evidence in a file of this content; None if it is refused in one sentence that says what to type."""
    file.write_bytes(content)
    try:
        return saved.read_report(file, "baseline")
    except ReportError as error:
        text = str(error)
        assert str(file) in text
        assert "\n" not in text
        assert any(word in text.rpartition(";")[2] for word in WHAT_TO_TYPE), text
        return None


def is_beyond_bounds(m):
    """Whether the whole interval of a measurement is on the claimed side of its bounds."""
    low, high = (m.value if end is None else end for end in (m.low, m.high))
    low, high = min(low, high), max(low, high)
    return (m.above is None or low > m.above or (m.needed and m.value >= m.above)) and (
        m.below is None or high < m.below
    )


def check(evidence):
    """Check that everything that passes follows from its measurements."""
    for each in evidence.cases:
        for arm in each.arms:
            if arm.outcome is Outcome.PASS:
                judged = [m for m in arm.measurements if m.above is not None or m.below is not None]
                assert judged
                assert all(m.value is not None and is_beyond_bounds(m) for m in judged)
        if each.case.outcome is Outcome.PASS:
            assert each.case.result.subject.outcome is Outcome.PASS
            assert evidence.accept_vacuous or all(arm.outcome is not Outcome.PASS for arm in each.arms[1:])
            assert len(each.arms) > 1


def gate_and_status(evidence, file):
    """The gate and the exit status of a saved report, which is its own baseline."""
    given_ = read_options(lambda key: {"unineuron_baseline": str(file)}.get(key), lambda _: None, {})
    found = Gate.of(evidence, given_, read_baseline(file) if given_.baseline else None)
    broken = evidence.count(Outcome.ERROR)
    return found, int(found.status(TESTS_FAILED if broken else OK, evidence)[0])


def without_sentences(data):
    """The data without its sentences."""
    if isinstance(data, dict):
        return {key: without_sentences(value) for key, value in data.items() if key not in ("reason", "question")}
    return [without_sentences(each) for each in data] if isinstance(data, list) else data


def test_the_real_report_is_read(real, file):
    """An undamaged report is read, and written again it is the same."""
    evidence = read(file, real.report)
    assert {**report_data(evidence), "digest": ""} == {**json.loads(real.report), "digest": ""}
    check(evidence)


@damage.fuzz_settings(75)
@given(plan=damage.of_bytes)
def test_a_damaged_file_is_refused(real, file, plan):
    """A file whose bytes have changed is read only if it holds the same data."""
    content = damage.bytes_after(real.report, plan)
    evidence = read(file, content)
    if evidence is not None:
        assert strict_json.parse_json(content.decode("utf-8")) == json.loads(real.report)


@damage.fuzz_settings(150)
@given(plan=damage.of_data)
def test_a_forged_report_passes_only_what_its_measurements_show(real, file, plan):
    """A changed report with the right digest is refused, or everything that passes follows from its measurements."""
    evidence = read(file, damage.to_bytes(damage.data_after(real.data, plan)))
    if evidence is not None:
        check(evidence)


@damage.fuzz_settings(50)
@given(plan=damage.of_data)
def test_every_derived_field_is_checked(real, file, plan):
    """A report that is read equals the one that would be written, except for its sentences."""
    damaged = damage.data_after(real.data, plan)
    evidence = read(file, damage.to_bytes(damaged))
    if evidence is not None:
        assert without_sentences(report_data(evidence)) == without_sentences(damaged)


def test_a_pass_that_its_measurements_do_not_show_is_refused(real, file):
    """One value on the other side of its bound is enough, even with the right digest."""
    data = real.data
    (case,) = data["trials"][0]["subjects"]["neox-a"]["cases"]
    (measured,) = case["subject"]["measurements"]
    measured["value"], measured["low"], measured["high"] = 0.1, 0.05, 0.15
    assert read(file, damage.to_bytes(data)) is None


def test_a_number_that_no_float_can_hold_is_refused(real, file):
    """JSON allows integers of any length, but a measurement is a float."""
    data = real.data
    data["trials"][0]["subjects"]["neox-a"]["cases"][0]["subject"]["measurements"][0]["value"] = 10**400
    assert read(file, damage.to_bytes(data)) is None


@damage.fuzz_settings(75)
@given(plan=damage.of_data)
def test_a_forged_report_can_be_compared_with_the_real_one(real, file, plan):
    """In either direction every case is in one state, and the forged report is the same as itself."""
    evidence = read(file, damage.to_bytes(damage.data_after(real.data, plan)))
    if evidence is None:
        return
    whole = saved.evidence_from_report(json.loads(real.report), "the real one")
    cases = [set(map(key, run.cases)) for run in (whole, evidence)]
    for one, other in ((whole, evidence), (evidence, whole)):
        found = compare(one, other)
        assert sum(found.counts.values()) == len(found.entries) == len(cases[0] | cases[1])
        assert str(found)
    itself = compare(evidence, evidence)
    assert {entry.state for entry in itself.entries} <= {CaseState.SAME, CaseState.NOT_RUN}


def key(each):
    """The key by which a case is compared."""
    return each.record.trial.id, each.record.corpus, each.subject.model, each.case.variant


@damage.fuzz_settings(75)
@given(plan=damage.of_lines)
def test_a_damaged_baseline_is_unusable(real, file, plan):
    """A baseline with damaged lines ends the run with 23, unless its data are the same."""
    damaged = damage.lines_after(real.report, plan)
    file.write_bytes(damaged)
    whole = saved.evidence_from_report(json.loads(real.report), "the real one")
    found, status = gate_and_status(whole, file)
    if found.unusable:
        assert status == 23
    else:
        assert strict_json.parse_json(damaged.decode("utf-8")) == json.loads(real.report)


@pytest.mark.parametrize(
    "spoil",
    [lambda d: d.update(incomplete=["worker gw0 vanished"]), lambda d: d.update(lock_violations=["here: locked"])],
)
@damage.fuzz_settings(20)
@given(plan=damage.of_data)
def test_damage_does_not_change_status_22_or_24(real, file, spoil, plan):
    """A damaged report that still names lost results or violations ends with 22 or 24, or is refused."""
    spoiled = real.data
    spoil(spoiled)
    damaged = damage.data_after(spoiled, plan)
    evidence = read(file, damage.to_bytes(damaged))
    if evidence is not None and (damaged["incomplete"] or damaged["lock_violations"]):
        assert gate_and_status(evidence, file)[1] in (22, 24)
