"""Results that are computed once per machine: looked up by everything they depend on, else computed and stored."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_unineuron.cache.store import PARTS_FOLDER, Entry, Store
from pytest_unineuron.distributed.single_process import compute_uncached
from pytest_unineuron.lab.serialize import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_unineuron.distributed.single_process import ComputePart, ProcessGroup
    from pytest_unineuron.lab.arm import Arm

Result = TypeVar("Result")


class ResultCache:
    """Results by key, computed once per machine. Without a ``store`` everything is computed whenever it is asked for.

    ``notify`` is given an event for every result that was found. ``parts`` stores the part of each of several
    processes until the whole is finished. ``unsaved`` counts the results that could not be stored.
    """

    def __init__(
        self,
        store: Store | None,
        parts: Store | None,
        notify: Callable[[dict[str, Any]], None],
        processes: ProcessGroup,
    ) -> None:
        self.unsaved = 0
        self._store = store
        self._parts = parts
        self._notify = notify
        self._processes = processes

    def get_or_compute(
        self,
        what: str,
        arm: Arm,
        corpus: str,
        key: Callable[[], Mapping[str, Any]],
        compute: Callable[[ComputePart], Result],
    ) -> Result:
        """Return the stored result of ``what`` under the key, or compute and store it.

        Where several processes share the work, ``compute`` is given a function that stores the part of each, so that
        another attempt can go on from it.
        """
        if self._store is None or self._parts is None:
            return compute(compute_uncached)
        store, full_key = self._store, {"what": what, **key()}
        found = self._processes.broadcast(lambda: _read(store, full_key))
        if found is None:
            with nullcontext() if self._processes.index else store.exclusive(full_key):
                # Another process may have computed it while this one waited for the lock.
                found = self._processes.broadcast(lambda: _read(store, full_key))
                if found is None:
                    return self._compute(store, self._parts, full_key, compute)
        self._note_found(what, arm, corpus)
        result: Result = found
        return result

    def find(self, what: str, arm: Arm, corpus: str, key: Callable[[], Mapping[str, Any]]) -> Any | None:
        """Return the stored result of ``what`` under the key, or None."""
        if self._store is None:
            return None
        store, full_key = self._store, {"what": what, **key()}
        found = self._processes.broadcast(lambda: _read(store, full_key))
        if found is not None:
            self._note_found(what, arm, corpus)
        return found

    def store(self, what: str, key: Mapping[str, Any], result: Any) -> None:
        """Store a result that was computed along with another one."""
        if self._store is not None and not self._processes.index:
            self.unsaved += not _write(self._store, {"what": what, **key}, result)

    def _note_found(self, what: str, arm: Arm, corpus: str) -> None:
        where = {"model": arm.model, "corpus": corpus, "control": arm.control, "draw": arm.draw}
        self._notify({"kind": "cache_hit", "what": what, **where})

    def _compute(
        self, store: Store, parts: Store, key: Mapping[str, Any], compute: Callable[[ComputePart], Result]
    ) -> Result:
        """Compute a result and store it; the parts of several processes are stored until then."""
        processes, part_keys = self._processes, []

        def compute_part(name: str, of_part: Callable[[], Any]) -> Any:
            part_keys.append({**key, "part": [name, processes.index, processes.count]})
            found = _read(parts, part_keys[-1])
            if found is None:
                found = of_part()
                _write(parts, part_keys[-1], found)
            else:
                text = f"part {processes.index + 1} of {processes.count} ({name.split()[0]}) was finished before"
                self._notify({"kind": "cache_note", "text": text})
            return found

        result = compute(compute_part if processes.count > 1 else compute_uncached)
        stored = processes.index > 0 or _write(store, key, result)
        self.unsaved += not stored
        if processes.broadcast(lambda: stored):  # until then, the parts are all there is
            for part_key in part_keys:
                parts.drop(part_key)
        return result


def _read(store: Store, key: Mapping[str, Any]) -> Any | None:
    """The stored result, or None if there is none that can be used."""
    entry = store.get(key)
    if entry is None:
        return None
    try:
        return unpacked(entry.description, entry.tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        store.reject(key, error)
        return None


def _write(store: Store, key: Mapping[str, Any], result: Any) -> bool:
    return store.put(key, Entry(*packed(result)))


def open_result_cache(
    folder: Path | None, limit: float, notify: Callable[[dict[str, Any]], None], processes: ProcessGroup
) -> ResultCache:
    """The cache of results in a folder, of at most ``limit`` bytes; without a folder nothing is stored."""

    def note(text: str) -> None:
        notify({"kind": "cache_note", "text": text})

    store = None if folder is None else Store(folder, limit, note)
    parts = None if folder is None else Store(folder, notify=note, name=PARTS_FOLDER)
    return ResultCache(store, parts, notify, processes)
