"""Damaged reports and baselines: what is read is what its numbers show, or there is an error in one sentence."""

import json

import pytest
from hypothesis import given

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.gate import FAILED, PASSED, Gate, read_baseline
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.options.sources import read as read_options
from tests.fuzz import damage

WHAT_TO_TYPE = ("pytest", "pip install")


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """A file to be damaged."""
    return tmp_path_factory.mktemp("fuzz") / "damaged.json"


def read(file, content):
    """The evidence in a file of this content; None where it is refused, in one sentence that says what to type."""
    file.write_bytes(content)
    try:
        return saved.read_report(file, "baseline")
    except ReportError as error:
        text = str(error)
        assert str(file) in text
        assert "\n" not in text
        assert any(word in text.rpartition(";")[2] for word in WHAT_TO_TYPE), text
        return None


def shown(m):
    """Whether a measurement is on the claimed side of its bounds with its whole interval."""
    low, high = (m.value if end is None else end for end in (m.low, m.high))
    low, high = min(low, high), max(low, high)
    return (m.above is None or low > m.above or (m.needed and m.value >= m.above)) and (
        m.below is None or high < m.below
    )


def check(evidence):
    """Whatever passes is shown by its measurements, and so is a verdict by what passes."""
    for record in evidence.trials:
        for subject in record.subjects:
            for case in subject.cases:
                arms = (case.result.subject, *case.result.arms.values())
                for arm in arms:
                    if arm.outcome is Outcome.PASS:
                        judged = [m for m in arm.measurements if m.above is not None or m.below is not None]
                        assert judged
                        assert all(m.value is not None and shown(m) for m in judged)
                if case.outcome is Outcome.PASS:
                    assert case.result.subject.outcome is Outcome.PASS
                    assert evidence.accept_vacuous or all(a.outcome is not Outcome.PASS for a in arms[1:])
                    assert len(arms) > 1


def gated(evidence, file):
    """The status that a saved report ends with, held against itself where a baseline is given."""
    given_ = read_options(lambda key: {"unineuron_baseline": str(file)}.get(key), lambda _: None, {})
    found = Gate.of(evidence, given_, read_baseline(file) if given_.baseline else None)
    broken = evidence.count(Outcome.ERROR)
    return found, int(found.status(FAILED if broken else PASSED, evidence)[0])


def unworded(data):
    """Data without its sentences."""
    if isinstance(data, dict):
        return {key: unworded(value) for key, value in data.items() if key not in ("reason", "question")}
    return [unworded(each) for each in data] if isinstance(data, list) else data


def test_the_real_report_is_read(real, file):
    """The guard can let something through, and what it lets through is what was written."""
    evidence = read(file, real.report)
    assert {**report_data(evidence), "digest": ""} == {**json.loads(real.report), "digest": ""}
    check(evidence)


@damage.quickly(150)
@given(plan=damage.of_bytes)
def test_a_damaged_file_is_refused(real, file, plan):
    """Whatever happens to its bytes: only the very same data, written otherwise, is read."""
    content = damage.bytes_after(real.report, plan)
    evidence = read(file, content)
    if evidence is not None:
        assert strict_json.parse_json(content.decode("utf-8")) == json.loads(real.report)


@damage.quickly(300)
@given(plan=damage.of_data)
def test_what_is_read_is_what_its_measurements_show(real, file, plan):
    """Also where the file was sealed again, so that its digest says nothing."""
    evidence = read(file, damage.written(damage.data_after(real.data, plan)))
    if evidence is not None:
        check(evidence)


@damage.quickly(100)
@given(plan=damage.of_data)
def test_what_is_derived_is_derived_again(real, file, plan):
    """A report that is read says of itself, in every field but its sentences, what it would be written as."""
    damaged = damage.data_after(real.data, plan)
    evidence = read(file, damage.written(damaged))
    if evidence is not None:
        assert unworded(report_data(evidence)) == unworded(damaged)


def test_a_pass_that_its_measurements_do_not_show_is_refused(real, file):
    """The smallest lie: one value moved to the other side of its bound, and the file sealed again."""
    data = real.data
    (case,) = data["trials"][0]["subjects"]["neox-a"]["cases"]
    (measured,) = case["subject"]["measurements"]
    measured["value"], measured["low"], measured["high"] = 0.1, 0.05, 0.15
    assert read(file, damage.written(data)) is None


def test_a_number_that_no_float_can_hold_is_refused(real, file):
    """JSON has integers of any length."""
    data = real.data
    data["trials"][0]["subjects"]["neox-a"]["cases"][0]["subject"]["measurements"][0]["value"] = 10**400
    assert read(file, damage.written(data)) is None


@damage.quickly(150)
@given(plan=damage.of_data)
def test_a_damaged_report_can_be_held_against_the_real_one(real, file, plan):
    """Nothing crashes, in either direction; every case of either is in one state; a report is the same as itself."""
    evidence = read(file, damage.written(damage.data_after(real.data, plan)))
    if evidence is None:
        return
    whole = saved.evidence_from_report(json.loads(real.report), "the real one")
    cases = [{key(r, s, c) for r in e.trials for s in r.subjects for c in s.cases} for e in (whole, evidence)]
    for one, other in ((whole, evidence), (evidence, whole)):
        found = compare(one, other)
        assert sum(found.counts.values()) == len(found.entries) == len(cases[0] | cases[1])
        assert str(found)
    itself = compare(evidence, evidence)
    assert {entry.state for entry in itself.entries} <= {CaseState.SAME, CaseState.NOT_RUN}


def key(record, subject, case):
    """What a case is known by."""
    return record.trial.id, record.corpus, subject.model, case.variant


@damage.quickly(150)
@given(plan=damage.of_lines)
def test_a_damaged_baseline_lets_nothing_pass(real, file, plan):
    """A baseline whose bytes or lines were damaged is unusable, exit 23, or is the very same data."""
    damaged = damage.lines_after(real.report, plan)
    file.write_bytes(damaged)
    whole = saved.evidence_from_report(json.loads(real.report), "the real one")
    found, status = gated(whole, file)
    if found.unusable:
        assert status == 23
    else:
        assert strict_json.parse_json(damaged.decode("utf-8")) == json.loads(real.report)


@pytest.mark.parametrize(
    "spoil",
    [lambda d: d.update(incomplete=["worker gw0 vanished"]), lambda d: d.update(lock_violations=["here: locked"])],
)
@damage.quickly(40)
@given(plan=damage.of_data)
def test_damage_does_not_open_a_gate(real, file, spoil, plan):
    """A report that ends with 22 or 24 ends so after any damage that leaves the reason there, or it is refused."""
    spoiled = real.data
    spoil(spoiled)
    damaged = damage.data_after(spoiled, plan)
    evidence = read(file, damage.written(damaged))
    if evidence is not None and (damaged["incomplete"] or damaged["lock_violations"]):
        assert gated(evidence, file)[1] in (22, 24)
