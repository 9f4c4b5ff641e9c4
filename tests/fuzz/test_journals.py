"""Damaged journals: damaged lines are counted and left out, and no number becomes another."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.cli.main import main
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import journal, strict_json
from pytest_unineuron.evidence.replay import replay_journal
from tests.fuzz import damage


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """The path of a journal to be damaged."""
    return tmp_path_factory.mktemp("fuzz") / "damaged.open.jsonl"


def read(file, content):
    """The record in a file of this content; None if it is refused in one sentence that names it."""
    file.write_bytes(content)
    try:
        return journal.read_journal(file)
    except ReportError as error:
        refused = str(error)
    assert str(file) in refused
    assert "\n" not in refused
    return None


def numbers(results):
    """Every measured value, by item and name."""
    return {(nodeid, m.name, m.value) for nodeid, result in results.items() for m in result.measurements}


def result_of(content):
    """Every measured value in an undamaged journal, by item and name."""
    events = [json.loads(line)["event"] for line in content.splitlines()]
    return {
        (e["nodeid"], m["name"], m["value"])
        for e in events
        if e["kind"] == "phase_report" and e["envelope"]["result"]
        for m in e["envelope"]["result"]["measurements"]
    }


def test_the_real_journal_is_read(real, file):
    """An undamaged journal gives every measurement of the run."""
    record = read(file, real.journal)
    assert record.damaged == ()
    collector = replay_journal(record)
    assert numbers(collector.results) == result_of(real.journal) != set()
    assert collector.finished


@damage.fuzz_settings(50)
@given(first=damage.of_lines, then=st.just([]) | damage.of_bytes)
def test_no_damage_turns_a_number_into_another(real, file, first, then):
    """Every event that is read was written, and all other lines count as damaged."""
    content = damage.bytes_after(damage.lines_after(real.journal, first), then)
    record = read(file, content)
    if record is None:
        return
    written = [json.loads(line)["event"] for line in real.journal.splitlines()]
    assert all(event in written for event in record.events)
    whole = content.split(b"\n")[:-1]
    assert len(record.events) + len(record.damaged) == len(whole)
    try:
        found = numbers(replay_journal(record).results)
    except KeyError:
        found = set()  # the first line is missing or repeated later, which ``replay_journal`` refuses
    assert found <= result_of(real.journal)
    assert main(["validate", str(file)]) in (0, 23)


def forged(whole, which, plan):
    """A journal in which one event was changed, with the right digest in every line."""
    events = [json.loads(line)["event"] for line in whole.splitlines()]
    events[which % len(events)] = damage.data_after(events[which % len(events)], plan)
    lines = []
    for event in events:
        try:
            lines.append(json.dumps({"event": event, "sum": strict_json.json_digest(event)[:16]}))
        except (ValueError, TypeError):
            lines.append(json.dumps({"event": event, "sum": ""}))
    return "".join(line + "\n" for line in lines).encode("utf-8")


@damage.fuzz_settings(40)
@given(which=st.integers(0, 1000), plan=damage.of_data)
def test_a_forged_journal_is_understood_or_refused(real, file, which, plan):
    """The command does not crash on a line with the right digest and another content."""
    read(file, forged(real.journal, which, plan))
    assert main(["validate", str(file)]) in (0, 23)
