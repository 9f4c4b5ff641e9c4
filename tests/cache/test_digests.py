"""Digests of large files are remembered for as long as the files are the same, and no longer."""

import hashlib
import os
import time

import pytest

from pytest_unineuron.cache import digests
from pytest_unineuron.cache.digests import DIGESTS_FILE, MIN_BYTES, Digests


@pytest.fixture
def settled(monkeypatch):
    """Files count as left alone at once."""
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * MIN_BYTES)
    return path


@pytest.fixture
def reads(monkeypatch):
    """The files that were read whole, in order."""
    seen = []

    def counted(path, *_state):
        seen.append(path.name)
        return hashlib.sha256(path.read_bytes()).digest()

    monkeypatch.setattr(digests, "_digest", counted)
    return seen


def test_a_large_file_is_read_once_for_all_runs(large, settled, reads):
    """What one run remembers the next one knows."""
    found = [Digests(large.parent).of(large) for _ in range(3)]
    assert found == [hashlib.sha256(large.read_bytes()).digest()] * 3
    assert reads == ["model.safetensors"]


def test_a_file_that_changed_is_read_again(large, settled, reads):
    """Also if it has its old size and its time is set back."""
    before, times = Digests(large.parent).of(large), large.stat()
    large.write_bytes(b"b" * MIN_BYTES)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Digests(large.parent).of(large) != before
    assert len(reads) == 2


def test_a_file_written_just_now_is_not_remembered(large, reads):
    """It could change once more within the clock's step."""
    os.utime(large, (time.time(), time.time()))
    Digests(large.parent).of(large)
    Digests(large.parent).of(large)
    assert len(reads) == 2
    assert not (large.parent / DIGESTS_FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": "zz"}'])
def test_a_damaged_memory_is_none(large, settled, reads, text):
    """Files are read, and remembered anew."""
    (large.parent / DIGESTS_FILE).write_text(text)
    Digests(large.parent).of(large)
    Digests(large.parent).of(large)
    assert len(reads) == 1


def test_small_files_are_not_worth_remembering(tmp_path, settled):
    """They are read as fast as the memory is."""
    small = tmp_path / "config.json"
    small.write_text("{}")
    Digests(tmp_path).of(small)
    assert not (tmp_path / DIGESTS_FILE).exists()
