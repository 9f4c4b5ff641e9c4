"""The state of one pytest session in one process: run, collection, protocol of items, lab and evidence."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.errors import OptionError
from pytest_unineuron.evidence.collector import Collector
from pytest_unineuron.evidence.events import PLAN
from pytest_unineuron.evidence.journal import Journal
from pytest_unineuron.evidence.versions import installed_versions
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.plugin.assignment import arm_of
from pytest_unineuron.plugin.collection import Collection
from pytest_unineuron.plugin.extensions import EXTENSIONS, Extensions
from pytest_unineuron.plugin.protocol import Protocol
from pytest_unineuron.plugin.provenance import Provenance
from pytest_unineuron.plugin.run import Run
from pytest_unineuron.system import process

if TYPE_CHECKING:
    from pytest_unineuron.lab.lab import Lab
    from pytest_unineuron.options.settings import Settings

PROCESSES = pytest.StashKey[ProcessGroup]()
"""The processes that share forward passes, in a run that only fills the cache."""


class Session:
    """The objects that the hooks of one process share."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.extensions: Extensions = config.pluginmanager.getplugin(EXTENSIONS)
        self.extensions.load()
        self.run = run = Run(config, settings)
        journal = None if run.settings.write_lock else partial(Journal, run.out)
        self.collector = Collector(self._header, journal)
        self.collection = Collection(run, self.extensions)
        self.protocol = Protocol(run, Provenance(run), self.collection, self._new_lab_events)
        self._events_sent = 0
        self._extensions_to_send: list[dict[str, Any]] = []

    def _header(self) -> dict[str, Any]:
        """The settings and versions of this run and what it was asked for, as JSON data."""
        return {
            "settings": self.run.settings.as_dict(),
            "versions": installed_versions() | self.extensions.versions(),
            "controls": self.extensions.control_words,
            "asked": self.run.asked,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @property
    def measures(self) -> bool:
        """Whether trials will be run."""
        config = self.run.config
        return not config.option.collectonly and PROCESSES not in config.stash

    def finish_collection(self, items: list[pytest.Item]) -> None:
        """Note the items that will run, and pass their plan to the collector, except in a worker."""
        self.collection.finish(items)
        if self.run.worker:  # only workers read conftest files below the folder where pytest was started
            found = {"versions": self.extensions.versions(), "controls": self.extensions.control_words}
            self._extensions_to_send = [{"kind": "extensions", **found}]
        if self.collection.plan and not self.run.worker and self.measures:
            self._check_device()
            self.collector.on_event({"kind": PLAN, "items": self.collection.plan})

    def _check_device(self) -> None:
        """Raise UsageError for a device that cannot be used here, before a model is loaded."""
        if self.run.settings.device not in ("auto", "cpu"):
            try:
                self.lab.check_device()
            except OptionError as error:
                raise pytest.UsageError(str(error)) from None

    @cached_property
    def lab(self) -> Lab:
        """The lab, made when a trial first asks for it, since that imports torch."""
        process.configure(self._threads)
        from pytest_unineuron.lab.lab import Lab
        from pytest_unineuron.plugin.progress import announcer, bar

        run, config = self.run, self.run.config
        processes = config.stash.get(PROCESSES, SINGLE_PROCESS)
        progress = bar(config, lambda: self.collection.passes) if not processes.index else None
        return Lab(
            run.settings,
            run.models,
            run.corpora,
            reference=run.reference,
            # A run that only fills the cache computes each result in a pass of its own.
            requests=self.collection.requests if self.measures else {},
            processes=processes,
            announce=announcer(config),
            progress=progress.wrap_batches if progress else None,
            folder=run.cache_folder,
        )

    @property
    def _threads(self) -> int:
        """The number of CPU threads of this process: its share of the cores, unless set."""
        workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT") or os.environ.get("LOCAL_WORLD_SIZE") or "1"
        return self.run.settings.threads or max(1, process.cores() // int(workers))

    def finish_item(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Release what the lab holds for an item and the following item does not need."""
        if "lab" in self.__dict__:
            self.release(arm_of(item), arm_of(following))

    def release(self, arm: Arm, following: Arm) -> None:
        """Release what the lab holds for an arm and the following arm does not need."""
        if arm.model in self.collection.arm_by_arm:
            self.lab.release(arm, following)
            process.return_freed_memory()  # results lie between what passes have freed
        else:
            self.lab.release(Arm(arm.model), Arm(following.model))

    def _new_lab_events(self) -> list[dict[str, Any]]:
        """The events of the lab since the last call, in a worker after the extensions that it found."""
        events = self.lab.events[self._events_sent :] if "lab" in self.__dict__ else []
        self._events_sent += len(events)
        found, self._extensions_to_send = self._extensions_to_send, []
        return [*found, *events]
