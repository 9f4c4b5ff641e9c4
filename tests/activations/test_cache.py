"""The cache: an entry is whole and made for the very key, or it is made again."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from pytest_unineuron.activations.cache import ABANDONED, LOCK, NUMBERS, WORDS, Cache

KEY = {"what": "sweep", "model": ["a", "b"], "tokens": 44_000}


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(tmp_path, told):
    return Cache(tmp_path, tell=told.append)


def value(size=4):
    return {"x": torch.arange(size, dtype=torch.float64), "n": 3}


def entry(cache, suffix):
    (path,) = cache.folder.glob(f"*{suffix}")
    return path


def test_what_was_put_is_found(cache, told):
    """By the same key, in this object or in another of the same folder."""
    assert cache.get(KEY) is None
    cache.put(KEY, value())
    found = Cache(cache.folder.parent).get(dict(reversed(KEY.items())))
    assert found["n"] == 3
    assert torch.equal(found["x"], value()["x"])
    assert cache.get(KEY | {"tokens": 1}) is None
    assert told == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda numbers, words: numbers.write_bytes(numbers.read_bytes()[:-8]),
        lambda numbers, words: numbers.write_bytes(numbers.read_bytes()[:-1] + b"\x01"),
        lambda numbers, words: numbers.write_bytes(b""),
        lambda numbers, words: words.write_text(words.read_text()[:-9]),
        lambda numbers, words: words.write_text("[]"),
        lambda numbers, words: words.write_text(words.read_text().replace('"value": 3', '"value": 4')),
        lambda numbers, words: words.write_text(words.read_text().replace("44000", "44001")),
        lambda numbers, words: words.write_bytes(b"\xff\xfe"),
    ],
)
def test_a_damaged_entry_is_made_again(cache, told, damage):
    """And said so, once; the new one is used from then on."""
    cache.put(KEY, value())
    damage(entry(cache, NUMBERS), entry(cache, WORDS))
    assert cache.get(KEY) is None
    assert len(told) == 1
    assert "cannot be used and is made again" in told[0]
    cache.put(KEY, value())
    assert cache.get(KEY)["n"] == 3
    assert len(told) == 1


def test_an_entry_under_a_foreign_name_is_not_believed(cache, told):
    """Both files are whole, but of another key."""
    cache.put(KEY, value())
    other = Cache(cache.folder.parent / "other")
    other.put(KEY | {"model": "c"}, value(8))
    for suffix in (NUMBERS, WORDS):
        entry(other, suffix).replace(entry(cache, suffix))
    assert cache.get(KEY) is None
    assert "of another origin" in told[0]


def test_half_an_entry_is_none(cache, told):
    """The words are written last; without them, or without the numbers, nothing is there."""
    for missing in (NUMBERS, WORDS):
        cache.put(KEY, value())
        entry(cache, missing).unlink()
        assert cache.get(KEY) is None
    assert told == []


def test_what_was_not_used_for_longest_goes(tmp_path, told):
    """Use counts, not age; what was just written stays."""
    cache = Cache(tmp_path, limit=13_000, tell=told.append)
    for number in range(3):
        cache.put({"n": number}, value(400))  # 3200 bytes and some words each
        os.utime(cache._path({"n": number}, WORDS), (number + 1, number + 1))
    assert cache.get({"n": 0}) is not None  # used: now the youngest
    cache.put({"n": 3}, value(400))
    assert [n for n in range(4) if cache.get({"n": n}) is not None] == [0, 2, 3]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 13_000
    assert not cache.put({"n": 4}, value(4000))
    assert cache.get({"n": 4}) is None  # larger than all the room there is
    assert "is not kept in a cache of" in told[0]
    assert "say --unineuron-cache-size=1" in told[0]


def test_what_cannot_be_removed_stays_and_the_rest_is_kept(tmp_path, told, monkeypatch):
    """Somebody else's entry, or one that is being read where that holds on to it."""
    cache = Cache(tmp_path, limit=5000, tell=told.append)
    assert cache.put({"n": 0}, value(400))

    def refuses(path, **_):
        raise PermissionError(1, "not yours", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", lambda path, **how: refuses(path) if path.suffix == WORDS else None)
        assert cache.put({"n": 1}, value(400))
    assert cache.put({"n": 2}, value(400))
    assert told == []


def test_what_is_under_another_name_is_apart(tmp_path):
    """It neither takes the room of the rest nor goes with it."""
    cache, parts = Cache(tmp_path, limit=13_000), Cache(tmp_path, name="parts")
    for number in range(9):
        assert parts.put({"n": number}, value(4000))
    assert cache.put({"n": 0}, value())
    assert cache.get({"n": 1}) is None
    cache.clear()
    assert parts.get({"n": 8}) is not None


def test_what_a_killed_process_left_is_removed(cache):
    """After a while: another may be writing just now."""
    cache.put(KEY, value())
    old, new, half = (cache.folder / name for name in ("a.json.1.part", "b.json.2.part", f"c{NUMBERS}"))
    for path in (old, new, half):
        path.touch()
    for path in (old, half):
        os.utime(path, (time.time() - 2 * ABANDONED,) * 2)
    cache.put(KEY | {"tokens": 1}, value())
    assert (old.exists(), new.exists(), half.exists()) == (False, True, False)


def test_a_folder_that_cannot_be_written_to_is_told_of_once(tmp_path, told):
    """Measuring goes on."""
    (tmp_path / "statistics").write_text("a file")
    cache = Cache(tmp_path, tell=told.append)
    for tokens in (1, 2):
        with cache.alone(KEY):
            cache.put(KEY | {"tokens": tokens}, value())
    assert len(told) == 1
    assert "nothing more is kept in the cache" in told[0]


def test_clearing_takes_nothing_of_others(cache):
    """Only what a cache writes, below its own folder."""
    cache.put(KEY, value())
    with cache.alone(KEY):
        pass
    theirs = [cache.folder.parent / "notes.json", cache.folder / "README.txt"]
    for path in theirs:
        path.touch()
    cache.clear()
    assert cache.get(KEY) is None
    assert sorted(path for path in cache.folder.parent.rglob("*") if path.is_file()) == sorted(theirs)


WORKER = """
import sys, time, torch
from pathlib import Path
from pytest_unineuron.activations.cache import Cache
cache, key = Cache(Path(sys.argv[1])), {"n": 1}
with cache.alone(key):
    if cache.get(key) is None:
        time.sleep(0.5)
        cache.put(key, {"x": torch.ones(3)})
        print("made")
"""


def test_processes_make_an_entry_once(tmp_path):
    """Whoever comes second waits, and takes what the first has made."""
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(process.communicate(timeout=120)[0].strip() for process in both) == ["", "made"]


def test_a_lock_outlives_nobody(cache):
    """One that a killed process left on disk holds nobody up."""
    cache.folder.mkdir(parents=True)
    cache._path(KEY, LOCK).write_text("12345")
    with cache.alone(KEY):
        cache.put(KEY, value())
    assert json.loads(entry(cache, WORDS).read_text())["entry"]["key"] == KEY
