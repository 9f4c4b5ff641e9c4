"""The result cache: looks up results by everything they depend on, and stores those that had to be computed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_unineuron.cache.store import PARTS_FOLDER, Entry, Store
from pytest_unineuron.distributed.single_process import compute_uncached
from pytest_unineuron.lab.serialize import deserialize, serialize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_unineuron.distributed.single_process import ComputePart, ProcessGroup
    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.lab.keys import Keys
    from pytest_unineuron.lab.reporting import Reporting

Result = TypeVar("Result")


class ResultCache:
    """Stored results of at most ``limit`` bytes in a folder. Without a folder, every result is computed.

    Where several processes share the work, the first one reads and writes results. Each also stores its part of a
    result until the whole is finished. ``unsaved`` counts the results that could not be stored.
    """

    def __init__(
        self, folder: Path | None, limit: float, keys: Keys, reporting: Reporting, processes: ProcessGroup
    ) -> None:
        self.unsaved = 0
        self._keys = keys
        self._reporting = reporting
        self._processes = processes
        self._results = Store(folder, limit, reporting.note_text) if folder else None
        self._parts = Store(folder, notify=reporting.note_text, name=PARTS_FOLDER) if folder else None

    def get_or_compute(self, job: Request, compute: Callable[[ComputePart], Result]) -> Result:
        """Return the stored result of a job, or compute and store it.

        ``compute`` is given a function that computes the part of this process, or finds it stored by an earlier run
        that was interrupted.
        """
        if self._results is None:
            return compute(compute_uncached)
        key = self._keys.key(job)
        with nullcontext() if self._processes.index else self._results.exclusive(key):
            found: Result | None = self._read(key)
            if found is None:
                return self._compute(key, compute)
        self._reporting.note_hit(job)
        return found

    def find(self, job: Request) -> Any | None:
        """Return the stored result of a job, or None."""
        found = None if self._results is None else self._read(self._keys.key(job))
        if found is not None:
            self._reporting.note_hit(job)
        return found

    def store(self, job: Request, result: Any) -> None:
        """Store the result of a job that was computed along with another one."""
        if self._results is not None and not self._processes.index:
            self.unsaved += not _write(self._results, self._keys.key(job), result)

    def _read(self, key: Mapping[str, Any]) -> Any | None:
        return self._processes.broadcast(lambda: _read(self._results, key))

    def _compute(self, key: Mapping[str, Any], compute: Callable[[ComputePart], Result]) -> Result:
        """Compute a result and store it. Until then, the parts of several processes are stored."""
        processes, part_keys = self._processes, []

        def compute_part(name: str, of_part: Callable[[], Any]) -> Any:
            part_keys.append({**key, "part": [name, processes.index, processes.count]})
            found = _read(self._parts, part_keys[-1])
            if found is None:
                found = of_part()
                _write(self._parts, part_keys[-1], found)
            else:
                part = f"part {processes.index + 1} of {processes.count} ({name.split()[0]})"
                self._reporting.note_text(f"read {part}, stored by an earlier attempt")
            return found

        result = compute(compute_part if processes.count > 1 else compute_uncached)
        stored = processes.index > 0 or _write(self._results, key, result)
        self.unsaved += not stored
        if processes.broadcast(lambda: stored) and self._parts:
            for part_key in part_keys:
                self._parts.drop(part_key)
        return result


def _read(store: Store | None, key: Mapping[str, Any]) -> Any | None:
    """The stored result, or None if there is none that can be used."""
    entry = store.get(key) if store else None
    if store is None or entry is None:
        return None
    try:
        return deserialize(entry.description, entry.tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        store.reject(key, error)
        return None


def _write(store: Store | None, key: Mapping[str, Any], result: Any) -> bool:
    """Store a result, and return whether that was possible; an instrument from outside may return anything."""
    if store is None:
        return False
    try:
        return store.put(key, Entry(*serialize(result)))
    except (TypeError, ValueError, RuntimeError):
        return False
