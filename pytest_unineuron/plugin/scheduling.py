"""Schedules the items of each model on one xdist worker, so that no model is loaded twice without need.

The marker ``xdist_group`` cannot be used for this, since it has no effect on pytest 9.2. Runs without trials are
scheduled by xdist's own rules, on as many workers as xdist starts.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScheduling

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.models.loading.source import sources_by_label
from pytest_unineuron.plugin.memory import process_bytes, processes_that_fit
from pytest_unineuron.system.machine import free_memory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

MAX_FILES = 100
"""The number of test files that are read to decide whether a run is one of trials."""
TRIAL_CODE = re.compile(rf"\bmark\.({'|'.join(c.marker for c in CRITERIA.values())})\b|\bunineuron_".encode())


class ModelScheduling(LoadScheduling):  # type: ignore[misc]  # xdist ships no types
    """Load scheduling in which one worker gets the items of a model.

    ``models`` are those under test, by label; the id of an item begins with the label of its model. As many workers
    get models as fit into memory. The others share the tests that are no trials, and end when none are left.

    A worker whose own model is done takes over the last of ``texts``, labels of corpora, of another model whose items
    run text by text: what a text needs is computed there, and everything else is in the cache.
    """

    def __init__(
        self,
        config: pytest.Config,
        log: Producer | None,
        models: Mapping[str, Source],
        settings: Settings,
        texts: Collection[str] = (),
    ) -> None:
        super().__init__(config, log)
        self._models = models
        self._settings = settings
        self._texts = sorted(texts, key=len, reverse=True)
        # Labels as they are and as pytest escapes them, the longest first, since one may begin with another.
        escaped = {label.encode("unicode_escape").decode("ascii"): source for label, source in models.items()}
        self._by_label = {**models, **escaped}
        self._labels = sorted(self._by_label, key=len, reverse=True)
        self._free: int | None = None
        self._units: list[tuple[str, str]] = []
        self._max_holders = 0
        self._holders: dict[WorkerController, str] = {}
        self.collection: list[str] | None

    def model_of(self, nodeid: str) -> str:
        """Return the label of the model of a trial's node id; empty if the test is no trial."""
        return _beginning(_case_of(nodeid), self._labels)

    def unit_of(self, nodeid: str) -> tuple[str, str]:
        """Return the model of a node id, and its text if that is one of ``texts``; empty if there is none."""
        model = self.model_of(nodeid)
        after = _case_of(nodeid)[len(model) :]
        return model, _beginning(after[1:], self._texts) if model and after.startswith("-") else ""

    def schedule(self) -> None:
        """Send the first unit to every worker, once all have collected."""
        collection = next(iter(self.node2collection.values()))
        if self.collection is None and any(map(self.model_of, collection)):
            if not self._check_nodes_have_same_collection():
                return
            self.collection, self.pending[:] = collection, range(len(collection))
            places = [self.unit_of(nodeid) for nodeid in collection]
            controls = [f"-{text}~" in nodeid for nodeid, (_, text) in zip(collection, places, strict=True)]
            self._units = units_of(places, controls)
            self._max_holders = self._count_holders()
            for node in self.nodes:
                self._feed(node)
        super().schedule()

    def _count_holders(self) -> int:
        """The number of workers that may hold models. Prints a line if memory limits it."""
        self._free = free_memory()
        allowed = processes_that_fit(self._models.values(), self._settings)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and allowed < min(len(self.nodes), len(self._models)):
            started = len(self.nodes)
            terminal.write_line(f"Trials run on {allowed} of {started} workers: more models do not fit into memory.")
        return allowed

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Send a worker its next unit before it has finished the last one, or end it if there is none for it."""
        if not self._max_holders:
            super().check_schedule(node, duration)
            return
        # A worker does not run its last item until it knows the next one, so it must have two.
        while not node.shutting_down and len(self.node2pending[node]) < 2:
            if not self._feed(node):
                node.shutdown()
        for other in () if self.pending else self.nodes:
            if not other.shutting_down:
                other.shutdown()

    def _feed(self, node: WorkerController) -> bool:
        """Send a worker the pending items of one unit, or some tests that are no trials. Returns whether any was."""
        units: dict[tuple[str, str], list[int]] = {}
        for index in self.pending:
            units.setdefault(self._units[index], []).append(index)
        plain = units.pop(("", ""), [])
        chosen = self._choose(node, list(units))
        if chosen:
            self._holders[node] = chosen[0]
            unit = units[chosen]
        else:
            unit = plain[: max(2, min(len(plain) // len(self.nodes) // 2, self.maxschedchunk or len(plain)))]
        if unit:
            sent = set(unit)
            self.pending[:] = [index for index in self.pending if index not in sent]
            self.node2pending[node].extend(unit)
            node.send_runtest_some(unit)
        return bool(unit)

    def _choose(self, node: WorkerController, units: list[tuple[str, str]]) -> tuple[str, str] | None:
        """The unit that a worker gets: of its own model, else of one that no other has, else a text that fits."""
        if node not in self._holders and len(self._holders) >= self._max_holders:
            return None
        # A worker that is to end runs what it was sent, and gets no more.
        held = {model for other, model in self._holders.items() if not other.shutting_down}
        own = self._holders.get(node)
        first = [unit for unit in units if unit[0] == own] or [unit for unit in units if unit[0] not in held]
        return next(iter(first), None) or next((u for u in reversed(units) if u[1] and self._fits(node, u[0])), None)

    def _fits(self, node: WorkerController, model: str) -> bool:
        """Whether a worker can have a model while the others have theirs."""
        models = [model, *(of_other for other, of_other in self._holders.items() if other is not node)]
        needed = sum(process_bytes(self._by_label[label], self._settings) for label in models)
        return self._free is None or needed <= self._free

    def remove_node(self, node: WorkerController) -> str | None:
        """Let another worker have the model of one that ended or died, and its pending items."""
        self._holders.pop(node, None)
        running: str | None = super().remove_node(node)
        return running


def _case_of(nodeid: str) -> str:
    """What stands behind the bracket of a node id, with the bracket that closes it; empty if there is none."""
    return nodeid.partition("::")[2].partition("[")[2]


def _beginning(case: str, labels: Iterable[str]) -> str:
    """The first of some labels with which a case begins, as a whole word; empty if there is none."""
    return next((each for each in labels if case.startswith(tuple(f"{each}{end}" for end in "-~]"))), "")


def units_of(places: Sequence[tuple[str, str]], controls: Sequence[bool]) -> list[tuple[str, str]]:
    """Return the unit of work of each item, from the model and text of each, and whether it is of a control arm.

    Items are given in the order in which they run. A text is a unit of its own where the model and its controls are
    measured on it one after the other. A model that is measured arm by arm is one unit, and so is the rest of a model:
    the last word of a node id can look like a text.
    """
    units = [(model, "") for model, _ in places]
    trials = [number for number, (model, _) in enumerate(places) if model]
    found = {}
    for place, run in groupby(trials, key=lambda number: places[number]):
        numbers = list(run)
        if len({controls[number] for number in numbers}) > 1:
            found[place] = numbers  # the last ones if there are several
    for place, numbers in found.items():
        for number in numbers:
            units[number] = place
    return units


def worker_count(config: pytest.Config, settings: Settings, most: int) -> int:
    """Return how many workers ``-n auto`` starts: at most one per model, and no more than fit into memory.

    A run without trials gets ``most``, the number that xdist chose. Since nothing is collected yet, a run counts as
    one of trials if most of its first test files name a marker or a fixture of this plugin.
    """
    files = [path.read_bytes() for path in islice(_test_files(config), MAX_FILES)]
    if 2 * sum(bool(TRIAL_CODE.search(text)) for text in files) <= len(files):
        return most
    models = sources_by_label(settings.models)
    return min(most, len(models), processes_that_fit(models.values(), settings))


def _test_files(config: pytest.Config) -> Iterator[Path]:
    """The test files in the folders that pytest was given, by the names that pytest looks for."""
    skipped, named = config.getini("norecursedirs"), config.getini("python_files")
    for argument in config.args:
        start = config.invocation_params.dir / argument.partition("::")[0]
        if start.is_file():
            yield start
        for folder, below, names in os.walk(start):
            below[:] = sorted(name for name in below if not any(fnmatch(name, pattern) for pattern in skipped))
            found = (Path(folder, name) for name in sorted(names) if any(fnmatch(name, p) for p in named))
            yield from (path for path in found if path.is_file())  # a link can lead nowhere
