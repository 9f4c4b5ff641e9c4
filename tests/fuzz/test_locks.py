"""Damaged locks are refused, and a forged one is refused or binding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.errors import ReportError, UnineuronError
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.options.settings import Settings
from tests.fuzz import damage


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """The path of a lock to be damaged."""
    return tmp_path_factory.mktemp("fuzz") / "damaged.lock"


def read(file, content):
    """The lock in a file of this content; None if it is refused in one sentence that names it."""
    file.write_bytes(content)
    try:
        return Lock.read(file)
    except ReportError as error:
        refused = str(error)
    assert str(file) in refused
    assert "\n" not in refused
    return None


def test_the_real_lock_is_read(real, file):
    """A lock that is read and written again is the same."""
    assert strict_json.add_digest(read(file, real.lock).as_dict()) == json.loads(real.lock)


@damage.fuzz_settings(50)
@given(first=damage.of_lines, then=st.just([]) | damage.of_bytes)
def test_a_damaged_lock_is_refused(real, file, first, then):
    """Only a file with the same data is read."""
    content = damage.bytes_after(damage.lines_after(real.lock, first), then)
    if read(file, content) is not None:
        assert strict_json.parse_json(content.decode("utf-8")) == json.loads(real.lock)


@damage.fuzz_settings(30)
@given(plan=damage.of_data)
def test_a_forged_lock_is_binding_or_refused(real, file, plan):
    """A changed lock with the right digest is refused if it is invalid; otherwise a run can be held to it."""
    damaged = damage.data_after(real.locked, plan)
    lock = read(file, damage.to_bytes(damaged))
    if lock is None:
        return
    try:
        bound, _ = Settings().bound(lock.settings)
    except UnineuronError:
        return
    assert {name: bound.as_dict()[name] for name in lock.settings} == dict(lock.settings)
    moved = lock.violations(saved.evidence_from_report(json.loads(real.report), "the real one"))
    for word, name in (("settings", "--unineuron-"), ("package", "the source of pytest-unineuron")):
        if damaged[word] != real.locked[word]:
            assert any(name in what for what in moved)
