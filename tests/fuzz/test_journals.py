"""Damaged journals: a line that is not as it was written is told of and left out; no number becomes another."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.baseline import journal
from pytest_unineuron.baseline.replay import replay
from pytest_unineuron.cli.main import main
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import strict_json
from tests.fuzz import damage


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """A journal to be damaged."""
    return tmp_path_factory.mktemp("fuzz") / "damaged.open.jsonl"


def read(file, content):
    """The record in a file of this content, or None where it is refused in one sentence that names it."""
    file.write_bytes(content)
    try:
        return journal.read(file)
    except ReportError as error:
        refused = str(error)
    assert str(file) in refused
    assert "\n" not in refused
    return None


def numbers(results):
    """Every measured value by item and name, with how often it was measured so."""
    return {(nodeid, m.name, m.value) for nodeid, result in results.items() for m in result.measurements}


def result_of(content):
    """What a whole journal holds."""
    events = [json.loads(line)["event"] for line in content.splitlines()]
    return {
        (e["nodeid"], m["name"], m["value"])
        for e in events
        if e["kind"] == "took" and e["envelope"]["result"]
        for m in e["envelope"]["result"]["measurements"]
    }


def test_the_real_journal_is_read(real, file):
    """Whole, with everything that was measured."""
    record = read(file, real.journal)
    assert record.damaged == ()
    collector = replay(record)
    assert numbers(collector.results) == result_of(real.journal) != set()
    assert collector.finished


@damage.quickly(100)
@given(first=damage.of_lines, then=st.just([]) | damage.of_bytes)
def test_no_number_becomes_another(real, file, first, then):
    """Whatever happens to lines and bytes, what is read was written; lines that are damaged are counted."""
    content = damage.bytes_after(damage.lines_after(real.journal, first), then)
    record = read(file, content)
    if record is None:
        return
    written = [json.loads(line)["event"] for line in real.journal.splitlines()]
    assert all(event in written for event in record.events)
    whole = content.split(b"\n")[:-1]
    assert len(record.events) + len(record.damaged) == len(whole)
    try:
        found = numbers(replay(record).results)
    except KeyError:
        found = set()  # a line of the start in the middle: refused by whoever replays it
    assert found <= result_of(real.journal)
    assert main(["validate", str(file)]) in (0, 23)


def forged(whole, which, plan):
    """A journal in which events were changed, and every line's sum made right again."""
    events = [json.loads(line)["event"] for line in whole.splitlines()]
    events[which % len(events)] = damage.data_after(events[which % len(events)], plan)
    lines = []
    for event in events:
        try:
            lines.append(json.dumps({"event": event, "sum": strict_json.json_digest(event)[:16]}))
        except (ValueError, TypeError):
            lines.append(json.dumps({"event": event, "sum": ""}))
    return "".join(line + "\n" for line in lines).encode("utf-8")


@damage.quickly(75)
@given(which=st.integers(0, 1000), plan=damage.of_data)
def test_a_forged_journal_is_understood_or_refused(real, file, which, plan):
    """Lines that are whole and say something else: the command does not crash."""
    read(file, forged(real.journal, which, plan))
    assert main(["validate", str(file)]) in (0, 23)
