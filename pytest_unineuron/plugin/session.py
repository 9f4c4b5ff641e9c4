"""One pytest session in one process: the run, the collection, the protocol of items, the lab and the evidence."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.baseline.journal import Journal
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.evidence.collector import Collector
from pytest_unineuron.evidence.events import PLAN
from pytest_unineuron.evidence.versions import installed_versions
from pytest_unineuron.options import sources
from pytest_unineuron.plugin.collection import Collection, model_of
from pytest_unineuron.plugin.finish import Finisher
from pytest_unineuron.plugin.protocol import Protocol
from pytest_unineuron.plugin.provenance import Provenance
from pytest_unineuron.plugin.run import Run
from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.lab.lab import Lab
    from pytest_unineuron.options.settings import Settings

PROCESSES = pytest.StashKey[ProcessGroup]()
"""The processes that share the passes of this one, in a run that only fills the cache."""


class Session:
    """Everything that the hooks of one process share."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.run = run = Run(config, settings)
        journal = None if run.settings.write_lock else partial(Journal, run.out)
        self.collector = Collector(self._header, journal)
        self.collection = Collection(run)
        self.protocol = Protocol(run, Provenance(run), self.collection, self._new_lab_events)
        self._events_sent = 0

    def _header(self) -> dict[str, Any]:
        """What this run was asked to do, as plain data."""
        return {
            "settings": self.run.settings.as_dict(),
            "versions": installed_versions(),
            "asked": self.run.asked,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @property
    def measures(self) -> bool:
        """Whether trials are going to be run."""
        config = self.run.config
        return not config.option.collectonly and PROCESSES not in config.stash

    def finish_collection(self, items: Sequence[pytest.Item]) -> None:
        """Note what is going to run, and tell the collector in the process that has one."""
        self.collection.finish(items)
        if self.collection.plan and not self.run.worker and self.measures:
            self.collector.on_event({"kind": PLAN, "items": self.collection.plan})

    @cached_property
    def lab(self) -> Lab:
        """The lab; making it imports torch, so it is made when a trial first asks for it."""
        process.configure(self._threads)
        from pytest_unineuron.lab.lab import Lab
        from pytest_unineuron.plugin.progress import announcer, bar

        run, config = self.run, self.run.config
        processes = config.stash.get(PROCESSES, SINGLE_PROCESS)
        progress = bar(config) if not processes.index else None
        return Lab(
            run.settings,
            run.models,
            run.corpora,
            # A run that only fills the cache shares passes among processes, and makes each result by itself.
            requests=self.collection.requests if self.measures else {},
            processes=processes,
            announce=announcer(config),
            progress=progress.over if progress else None,
            folder=run.cache_folder,
        )

    @property
    def _threads(self) -> int:
        """CPU threads of this process: the cores are divided among the processes that share them."""
        workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT") or os.environ.get("LOCAL_WORLD_SIZE") or "1"
        return self.run.settings.threads or max(1, process.cores() // int(workers))

    def finish_item(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Let go of everything in memory that belongs to a model, if the item that follows measures another one."""
        model = model_of(item)
        if "lab" in self.__dict__ and model != model_of(following):
            self.lab.release(model)

    def _new_lab_events(self) -> list[dict[str, Any]]:
        """The events of the lab since this was last asked."""
        events = self.lab.events[self._events_sent :] if "lab" in self.__dict__ else []
        self._events_sent += len(events)
        return events


SESSION = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """This process's session, made when a trial, an option or a worker first needs it. Raises UnineuronError."""
    if SESSION not in config.stash:
        session = config.stash[SESSION] = Session(config, sources.read(config.getoption, config.getini))
        config.pluginmanager.register(Finisher(session.run, session.collector, session.protocol), "unineuron-finisher")
    return config.stash[SESSION]
