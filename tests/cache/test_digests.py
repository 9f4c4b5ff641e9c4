"""Digests of large files are stored, and used as long as the files have not changed."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from pytest_unineuron.cache import digests
from pytest_unineuron.cache.digests import DIGESTS_FILE, MIN_BYTES, Digests


@pytest.fixture
def settled(monkeypatch):
    """Treat every file as unchanged for long enough, whenever it was written."""
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * MIN_BYTES)
    return path


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that were read completely, in order."""
    seen, digest = [], hashlib.file_digest

    def counted(file, algorithm):
        seen.append(Path(file.name).name)
        return digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


def digest_in_a_new_run(path):
    """The digest in a process that has not read the file."""
    digests.file_digest.cache_clear()
    return Digests(path.parent).of(path)


def test_a_large_file_is_read_once_for_all_runs(large, settled, reads):
    """Later runs use the stored digest."""
    found = [digest_in_a_new_run(large) for _ in range(3)]
    assert found == [hashlib.sha256(large.read_bytes()).digest()] * 3
    assert reads == ["model.safetensors"]


def test_a_file_that_changed_is_read_again(large, settled, reads):
    """A change is noticed also if size and modification time are as before."""
    before, times = digest_in_a_new_run(large), large.stat()
    large.write_bytes(b"b" * MIN_BYTES)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_in_a_new_run(large) != before
    assert len(reads) == 2


def test_the_digest_of_a_file_written_just_now_is_not_stored(large, reads):
    """The file could change again within the resolution of the clock."""
    os.utime(large, (time.time(), time.time()))
    digest_in_a_new_run(large)
    digest_in_a_new_run(large)
    assert len(reads) == 2
    assert not (large.parent / DIGESTS_FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": "zz"}'])
def test_a_damaged_file_of_digests_is_replaced(large, settled, reads, text):
    """The file is read, and its digest is stored again."""
    (large.parent / DIGESTS_FILE).write_text(text)
    digest_in_a_new_run(large)
    digest_in_a_new_run(large)
    assert len(reads) == 1


def test_digests_of_small_files_are_not_stored(tmp_path, settled):
    """Reading a small file takes no longer than looking up its digest."""
    small = tmp_path / "config.json"
    small.write_text("{}")
    Digests(tmp_path).of(small)
    assert not (tmp_path / DIGESTS_FILE).exists()
