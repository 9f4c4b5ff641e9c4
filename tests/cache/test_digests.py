"""Digests of large files are remembered for as long as the files are the same, and no longer."""

import hashlib
import os
import time
from pathlib import Path

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
    """The names of the files that were read whole, in order."""
    seen, digest = [], hashlib.file_digest

    def counted(file, algorithm):
        seen.append(Path(file.name).name)
        return digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


def digest_in_a_new_run(path):
    """The digest, in a process that has read nothing before."""
    digests.file_digest.cache_clear()
    return Digests(path.parent).of(path)


def test_a_large_file_is_read_once_for_all_runs(large, settled, reads):
    """Later runs use the digest that the first one stored."""
    found = [digest_in_a_new_run(large) for _ in range(3)]
    assert found == [hashlib.sha256(large.read_bytes()).digest()] * 3
    assert reads == ["model.safetensors"]


def test_a_file_that_changed_is_read_again(large, settled, reads):
    """Also if it has its old size and its time is set back."""
    before, times = digest_in_a_new_run(large), large.stat()
    large.write_bytes(b"b" * MIN_BYTES)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_in_a_new_run(large) != before
    assert len(reads) == 2


def test_the_digest_of_a_file_written_just_now_is_not_stored(large, reads):
    """It could change once more within the clock's step."""
    os.utime(large, (time.time(), time.time()))
    digest_in_a_new_run(large)
    digest_in_a_new_run(large)
    assert len(reads) == 2
    assert not (large.parent / DIGESTS_FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": "zz"}'])
def test_a_damaged_file_of_digests_is_replaced(large, settled, reads, text):
    """Files are read, and their digests stored again."""
    (large.parent / DIGESTS_FILE).write_text(text)
    digest_in_a_new_run(large)
    digest_in_a_new_run(large)
    assert len(reads) == 1


def test_digests_of_small_files_are_not_stored(tmp_path, settled):
    """They are read as fast as the memory is."""
    small = tmp_path / "config.json"
    small.write_text("{}")
    Digests(tmp_path).of(small)
    assert not (tmp_path / DIGESTS_FILE).exists()
