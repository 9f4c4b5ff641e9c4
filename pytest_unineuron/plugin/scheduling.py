"""Under ``-n``: one model stays on one worker, so that nothing is loaded or swept twice.

``xdist_group`` cannot be used for this: on pytest 9.2 it silently stops grouping. Runs without trials are
scheduled as xdist would, with as many workers as xdist would start.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScheduling

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.models.loading.source import sources_by_label
from pytest_unineuron.plugin import memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

LOOKED_AT = 100
"""Test files that are looked at to tell a run of trials from others."""
OURS = re.compile(rf"\bmark\.({'|'.join(c.marker for c in CRITERIA.values())})\b|\bunineuron_".encode())


class ModelScheduling(LoadScheduling):  # type: ignore[misc]  # xdist ships no types
    """Load scheduling in which all items of one model are one unit of work.

    ``models`` are those under test, by label; an item belongs to the model its id begins with. No more workers
    hold models than memory allows; the others share the tests that are no trials, and end when there are none.
    """

    def __init__(
        self, config: pytest.Config, log: Producer | None, models: Mapping[str, Source], settings: Settings
    ) -> None:
        super().__init__(config, log)
        self._models = models
        self._settings = settings
        # As they are and as pytest escapes them. The longest first: one may be the beginning of another.
        escaped = [label.encode("unicode_escape").decode("ascii") for label in models]
        self._labels = sorted({*models, *escaped}, key=len, reverse=True)
        self._model: list[str] = []
        self._room = 0
        self._holders: set[WorkerController] = set()
        self.collection: list[str] | None

    def model_of(self, nodeid: str) -> str:
        """The model of a trial's node id, or empty."""
        _, bracket, case = nodeid.partition("::")[2].partition("[")
        for label in self._labels if bracket else ():
            if case.startswith(label) and case[len(label) : len(label) + 1] in ("-", "~", "]"):
                return label
        return ""

    def schedule(self) -> None:
        """Hand out the first unit to every worker, once all have collected."""
        collection = next(iter(self.node2collection.values()))
        if self.collection is None and any(map(self.model_of, collection)):
            if not self._check_nodes_have_same_collection():
                return
            self.collection, self.pending[:] = collection, range(len(collection))
            self._model = [self.model_of(nodeid) for nodeid in collection]
            self._room = self._allowed()
            for node in self.nodes:
                self._feed(node)
        super().schedule()

    def _allowed(self) -> int:
        """How many workers may hold models; says so where more could."""
        allowed = memory.fit(self._models.values(), self._settings)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and allowed < min(len(self.nodes), len(self._models)):
            started = len(self.nodes)
            terminal.write_line(f"Trials run on {allowed} of {started} workers: more models do not fit into memory.")
        return allowed

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Give a worker its next unit when it is about to run dry, and let it go when there is none for it."""
        if not self._room:
            super().check_schedule(node, duration)
            return
        # A worker holds its last item back until it knows what follows, so it is fed before it is empty.
        while not node.shutting_down and len(self.node2pending[node]) < 2:
            if not self._feed(node):
                node.shutdown()
        for other in () if self.pending else self.nodes:
            if not other.shutting_down:
                other.shutdown()

    def _feed(self, node: WorkerController) -> bool:
        """Send a worker all that is left of one model, or some tests that are no trials. False if there is neither."""
        units: dict[str, list[int]] = {}
        for index in self.pending:
            units.setdefault(self._model[index], []).append(index)
        plain = units.pop("", [])
        if units and (node in self._holders or len(self._holders) < self._room):
            self._holders.add(node)
            unit = next(iter(units.values()))
        else:
            unit = plain[: max(2, min(len(plain) // len(self.nodes) // 2, self.maxschedchunk or len(plain)))]
        if unit:
            sent = set(unit)
            self.pending[:] = [index for index in self.pending if index not in sent]
            self.node2pending[node].extend(unit)
            node.send_runtest_some(unit)
        return bool(unit)

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended or died: another may hold its model, and gets what is left of it."""
        self._holders.discard(node)
        running: str | None = super().remove_node(node)
        return running


def workers(config: pytest.Config, settings: Settings, most: int) -> int:
    """How many workers ``-n auto`` is to start: at most one per model, and no more than fit into memory.

    A run that is not one of trials gets as many as xdist says, ``most``: nothing is collected yet, so that is told
    by the test files it is pointed at. If most of the first hundred name a marker or a fixture of ours, it is.
    """
    files = [path.read_bytes() for path in islice(_test_files(config), LOOKED_AT)]
    if 2 * sum(bool(OURS.search(text)) for text in files) <= len(files):
        return most
    models = sources_by_label(settings.model)
    return min(most, len(models), memory.fit(models.values(), settings))


def _test_files(config: pytest.Config) -> Iterator[Path]:
    """The test files below what was asked for, by the names that pytest goes by."""
    skipped, named = config.getini("norecursedirs"), config.getini("python_files")
    for argument in config.args:
        start = config.invocation_params.dir / argument.partition("::")[0]
        if start.is_file():
            yield start
        for folder, below, names in os.walk(start):
            below[:] = sorted(name for name in below if not any(fnmatch(name, pattern) for pattern in skipped))
            found = (Path(folder, name) for name in sorted(names) if any(fnmatch(name, p) for p in named))
            yield from (path for path in found if path.is_file())  # a link can lead nowhere
