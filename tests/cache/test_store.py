"""The store of results: damaged entries and entries of another key are not used."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from pytest_unineuron.cache.store import ABANDONED_SECONDS, ENTRY_SUFFIX, Entry, Store

KEY = {"what": "sweep", "model": ["a", "b"], "tokens": 44_000}


@pytest.fixture
def messages():
    return []


@pytest.fixture
def store(tmp_path, messages):
    return Store(tmp_path, notify=messages.append)


def entry(size=4):
    return Entry({"n": 3}, {"x": torch.arange(size, dtype=torch.float64)})


def only_file(store):
    (path,) = store.folder.glob(f"*{ENTRY_SUFFIX}")
    return path


def replaced(old, new):
    return lambda content: content.replace(old, new)


def test_an_entry_is_found_under_its_key(store, messages):
    """The order of the key's items does not matter, and another store of the folder finds the entry."""
    assert store.get(KEY) is None
    store.put(KEY, entry())
    found = Store(store.folder.parent).get(dict(reversed(KEY.items())))
    assert found.description == {"n": 3}
    assert torch.equal(found.tensors["x"], entry().tensors["x"])
    assert store.get(KEY | {"tokens": 1}) is None
    assert messages == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-8],
        lambda content: content[:-1] + b"\x01",
        lambda content: content[:5],
        lambda content: b"",
        lambda content: b"\xff" * len(content),
        lambda content: b"{}" + content,
        replaced(b'\\"n\\": 3', b'\\"n\\": 4'),
        replaced(b"44000", b"44001"),
        replaced(b"digest", b"digesT"),
    ],
)
def test_a_damaged_entry_is_made_again(store, messages, damage):
    """The damage is reported once, and the new entry is used afterwards."""
    store.put(KEY, entry())
    path, content = only_file(store), only_file(store).read_bytes()
    path.write_bytes(damage(content))
    assert path.read_bytes() != content
    assert store.get(KEY) is None
    assert len(messages) == 1
    assert "cannot be used and is computed again" in messages[0]
    store.put(KEY, entry())
    assert store.get(KEY).description == {"n": 3}
    assert len(messages) == 1


def test_an_entry_of_another_key_is_rejected(store, messages):
    """A valid entry that was moved to the name of another is not used."""
    store.put(KEY, entry())
    other = Store(store.folder.parent / "other")
    other.put(KEY | {"model": "c"}, entry(8))
    only_file(other).replace(only_file(store))
    assert store.get(KEY) is None
    assert "it was made for another key" in messages[0]


def test_the_least_recently_used_entry_is_evicted(tmp_path, messages):
    """The time of the last use counts, not the age. An entry larger than the limit is not stored."""
    store = Store(tmp_path, limit=13_000, notify=messages.append)
    for number in range(3):
        store.put({"n": number}, entry(400))  # 3200 bytes and a header each
        os.utime(store._path({"n": number}), (number + 1, number + 1))
    assert store.get({"n": 0}) is not None  # now the most recently used
    store.put({"n": 3}, entry(400))
    assert [n for n in range(4) if store.get({"n": n}) is not None] == [0, 2, 3]
    assert sum(path.stat().st_size for path in store.folder.iterdir()) <= 13_000
    assert not store.put({"n": 4}, entry(4000))
    assert store.get({"n": 4}) is None  # larger than the limit
    assert "does not fit into a cache of" in messages[0]
    assert "say --unineuron-cache-size=1" in messages[0]


def test_an_entry_that_cannot_be_removed_stays(tmp_path, messages, monkeypatch):
    """An entry of another user, or one in use, stays, and later entries are stored nevertheless."""
    store = Store(tmp_path, limit=5000, notify=messages.append)
    assert store.put({"n": 0}, entry(400))

    def refuse(path, **_):
        raise PermissionError(1, "not yours", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", lambda path, **_: path.suffix == ENTRY_SUFFIX and refuse(path))
        assert store.put({"n": 1}, entry(400))
    assert store.put({"n": 2}, entry(400))
    assert messages == []


WRITE = """
import sys, torch
from pathlib import Path
from pytest_unineuron.cache.store import Entry, Store
store = Store(Path(sys.argv[1]), limit=40_000, notify=print)
for number in range(300):
    entry = Entry({}, {"x": torch.arange(400, dtype=torch.float64)})
    assert store.put({"n": number, "of": sys.argv[2]}, entry)
"""


@pytest.mark.slow
def test_two_processes_can_evict_at_once(tmp_path):
    """An entry that another process removed while both looked at all of them is no reason to stop."""
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    assert [(process.communicate()[0], process.returncode) for process in both] == [("", 0)] * 2


def test_stores_of_different_names_are_independent(tmp_path):
    """They share neither limit nor entries, and are cleared separately."""
    store, parts = Store(tmp_path, limit=13_000), Store(tmp_path, name="parts")
    for number in range(9):
        assert parts.put({"n": number}, entry(4000))
    assert store.put({"n": 0}, entry())
    assert store.get({"n": 1}) is None
    store.clear()
    assert parts.get({"n": 8}) is not None


def test_files_of_a_killed_process_are_removed(store):
    """A temporary file is removed only when it is old, since another process may be writing it."""
    store.put(KEY, entry())
    old, new = (store.folder / name for name in (".a.safetensors.1.part", ".b.safetensors.2.part"))
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 2 * ABANDONED_SECONDS,) * 2)
    store.put(KEY | {"tokens": 1}, entry())
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path, messages):
    """Results are computed without the cache."""
    (tmp_path / "statistics").write_text("a file")
    store = Store(tmp_path, notify=messages.append)
    for tokens in (1, 2):
        with store.exclusive(KEY):
            store.put(KEY | {"tokens": tokens}, entry())
    assert len(messages) == 1
    assert "cannot be written to" in messages[0]


def test_clearing_removes_only_entries(store):
    """Other files in the folder and its parent stay."""
    store.put(KEY, entry())
    with store.exclusive(KEY):
        pass
    others = [store.folder.parent / "notes.json", store.folder / "README.txt"]
    for path in others:
        path.touch()
    store.clear()
    assert store.get(KEY) is None
    assert sorted(path for path in store.folder.parent.rglob("*") if path.is_file()) == sorted(others)


WORKER = """
import json, sys, torch
from pathlib import Path
from pytest_unineuron.cache.store import Entry, Store
store, key = Store(Path(sys.argv[1])), json.loads(sys.argv[2])
print("starts", flush=True)
with store.exclusive(key):
    if store.get(key) is None:
        store.put(key, Entry(None, {"x": torch.ones(3)}))
        print("made")
"""


def test_a_process_waits_for_another_that_computes_the_same_entry(store):
    """It reads the entry instead of computing it again."""
    command = [sys.executable, "-c", WORKER, str(store.folder.parent), json.dumps(KEY)]
    with store.exclusive(KEY):
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "starts\n"
        store.put(KEY, entry())
    assert other.communicate(timeout=120)[0] == ""


def test_a_lock_file_left_on_disk_blocks_no_process(store):
    """The system releases the lock of a killed process, but the file may remain."""
    store.folder.mkdir(parents=True)
    store._path(KEY).with_suffix(".lock").write_text("12345")
    with store.exclusive(KEY):
        store.put(KEY, entry())
    assert store.get(KEY) is not None
