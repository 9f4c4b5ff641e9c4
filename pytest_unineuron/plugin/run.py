"""One pytest session in one process: what was asked for, and everything its hooks share."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron import controls, options
from pytest_unineuron.baseline.gate import Exit, baseline
from pytest_unineuron.baseline.journal import Journal, left_open
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.cache.store import PARTS_FOLDER, RESULTS_FOLDER, Store
from pytest_unineuron.corpora import find as corpora_named
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, ProcessGroup
from pytest_unineuron.errors import OptionError, ReportError
from pytest_unineuron.evidence.collector import Collector, versions
from pytest_unineuron.models.loading import source
from pytest_unineuron.plugin.collection import Planner
from pytest_unineuron.plugin.protocol import Runner
from pytest_unineuron.plugin.provenance import Provenance
from pytest_unineuron.plugin.resume import Attempts
from pytest_unineuron.reports.write import REPORT, obstacle
from pytest_unineuron.system import process
from pytest_unineuron.system.paths import resolve_path

if TYPE_CHECKING:
    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.lab import Lab


class Session:
    """State of one process, kept in ``config.stash[KEY]``: settings, plan, running items and results."""

    def __init__(self, config: pytest.Config, settings: options.Settings) -> None:
        self.config = config
        self.lock = Lock.read(self._path(config, settings.lock)) if settings.lock else None
        self.settings, self.overruled = settings.bound(self.lock.settings if self.lock else {})
        self.collector = Collector(self._run, None if self.settings.write_lock else partial(Journal, self.out))
        self.planner = Planner(self)
        self.runner = Runner(self)

    @staticmethod
    def _path(config: pytest.Config, name: str) -> Path:
        """A file or folder by the name that was typed, relative to where pytest was started."""
        return resolve_path(name, config.invocation_params.dir).resolve()

    @property
    def worker(self) -> str:
        """The id of this xdist worker; empty in the controller and in a run without workers."""
        return str(getattr(self.config, "workerinput", {}).get("workerid", ""))

    @property
    def out(self) -> Path:
        """The folder for reports, relative to where pytest was started."""
        return self._path(self.config, self.settings.out)

    @property
    def gated(self) -> bool:
        """Whether this very run was asked to be held against something. An ini key is there for every run."""
        return any(
            getattr(self.settings, option.key.removeprefix("unineuron_"))
            and (self.config.getoption(option.key) is not None or option.variable in os.environ)
            for option in options.OPTIONS
            if option.name in ("baseline", "lock")
        )

    @cached_property
    def accepted(self) -> Evidence | ReportError | None:
        """The baseline, or why it cannot be used; None if none was named. Read once, before anything is measured."""
        return baseline(self._path(self.config, self.settings.baseline)) if self.settings.baseline else None

    @property
    def unusable_baseline(self) -> str:
        """A warning if the baseline that was named for this very run cannot be compared with; else empty."""
        if not (self.gated and isinstance(self.accepted, ReportError)):
            return ""
        return f"{self.accepted}. The run goes on, and ends with status {Exit.BASELINE}."

    @property
    def write_lock(self) -> Path:
        """The file that a lock is to be written to."""
        return self._path(self.config, self.settings.write_lock)

    def _run(self) -> dict[str, Any]:
        """What this run was asked to do, as plain data."""
        asked = {
            "paths": self._paths,
            "root": self._root,
            "models": list(self.models),
            "corpora": [self.reference, *self.new_data],
            "part": self._part,
        }
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return {"settings": self.settings.as_dict(), "versions": versions(), "asked": asked, "created": created}

    @property
    def _part(self) -> list[str]:
        """The options of pytest by which items were left out without being collected."""
        return [flag for flag, name in (("--lf", "lf"), ("--sw", "stepwise")) if self.config.getoption(name, False)]

    @property
    def _root(self) -> str:
        """Pytest's root folder as it is typed where pytest was started."""
        root = self.config.rootpath
        try:
            return Path(os.path.relpath(root, self.config.invocation_params.dir)).as_posix()
        except ValueError:  # on another drive
            return root.as_posix()

    @property
    def _paths(self) -> list[str]:
        """The paths and node ids that pytest was given, below its root folder."""
        started, root = self.config.invocation_params.dir, self.config.rootpath
        given = [str(arg).partition("::") for arg in self.config.args]
        # As pytest does it: links are not followed.
        paths = [(Path(os.path.normpath(started / path)), found, name) for path, found, name in given]
        if any(path in (root, *root.parents) for path, _, _ in paths):
            return ["."]
        return sorted(
            {
                (path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()) + found + name
                for path, found, name in paths
            }
        )

    @cached_property
    def provenance(self) -> Provenance:
        """What the results of this run rest on, by content."""
        return Provenance(self)

    @cached_property
    def attempts(self) -> Attempts:
        """What attempts at this run that were cut short measured. Under a lock everything is measured again."""
        if self.settings.resume == "never" or self.settings.lock or self.settings.write_lock:
            return Attempts([])
        if self.worker:
            return Attempts(map(Path, getattr(self.config, "workerinput", {}).get("unineuron", ())))
        return Attempts(self.left_open)

    @cached_property
    def left_open(self) -> list[Path]:
        """The journals of such attempts; looked for once. This run's own is held by this very process."""
        return left_open(self.out)

    def label(self, spec: str) -> str:
        """What a model is called in this run: its label if it is under test, else as it was named."""
        return next((label for label, source in self.models.items() if source.spec == spec), spec)

    @cached_property
    def models(self) -> dict[str, source.Source]:
        """The models under test by label. Raises ModelError for one that cannot be."""
        return source.labels(self.settings.model)

    @cached_property
    def seeds(self) -> dict[str, source.Source]:
        """The further seeds that were named, by label. Raises ModelError for one that cannot be."""
        return source.labels(self.settings.seed)

    @cached_property
    def new_data(self) -> dict[str, str]:
        """The corpora of new data by label. Raises CorpusError for one that cannot be."""
        return corpora_named.labels(self.settings.corpus)

    @cached_property
    def reference(self) -> str:
        """The label of the reference corpus."""
        return next(iter(corpora_named.labels((self.settings.reference,))))

    @cached_property
    def lab(self) -> Lab:
        """The lab; making it imports torch, so it is made when a trial first asks for it."""
        process.settle()
        from pytest_unineuron.lab import Lab
        from pytest_unineuron.plugin.progress import announcer, bar

        processes = self.config.stash.get(PROCESSES, SINGLE_PROCESS)
        beside = os.environ.get("PYTEST_XDIST_WORKER_COUNT") or os.environ.get("LOCAL_WORLD_SIZE") or "1"
        corpora = {**self.new_data, self.reference: self.settings.reference}
        # What is only gathered is gathered one by one: a part that is there already would be missing in a joint pass.
        comparing = {(case.model, case.corpus) for case in self.planner.comparing if self.measures}
        drawn = bar(self.config) if not processes.index else None
        return Lab(
            self.settings,
            self.models,
            corpora,
            workers=int(beside),
            comparing=comparing,
            processes=processes,
            announce=announcer(self.config),
            progress=drawn.over if drawn else None,
            folder=self.cache_folder,
        )

    @property
    def cache_folder(self) -> Path | None:
        """The folder in which results are kept: the one that was named, or ours in pytest's cache, if there is one.

        None where nothing may be taken over: without a cache, or under a lock, which has everything measured again.
        """
        if self.settings.no_cache or self.settings.lock or self.settings.write_lock:
            return None
        if self.settings.cache:
            return self._path(self.config, self.settings.cache)
        cache = getattr(self.config, "cache", None)
        try:
            return cache.mkdir("unineuron") if cache is not None else None
        except OSError:  # pytest says so itself
            return None

    def clear_cache(self) -> None:
        """Empty the cache that was named, of what is ours; pytest does so with its own."""
        if self.settings.cache:
            for name in (RESULTS_FOLDER, PARTS_FOLDER):
                Store(self._path(self.config, self.settings.cache), name=name).clear()

    @property
    def measures(self) -> bool:
        """Whether trials are going to be run."""
        return not self.config.option.collectonly and PROCESSES not in self.config.stash

    @property
    def has_lab(self) -> bool:
        """Whether anything was measured in this process yet."""
        return "lab" in self.__dict__

    @cached_property
    def findings(self) -> dict[str, dict[str, float]] | None:
        """The paper's published numbers, if a checkout of its tables was named. Raises FindingsError."""
        if self._checkout is None:
            return None
        from pytest_unineuron.models.published import read

        return read(self._checkout)

    def published(self, model: str) -> Path | None:
        """The table of the universal neurons published for a model, if the tables were named and have one."""
        if self._checkout is None:
            return None
        from pytest_unineuron.models.published import table

        return table(self._checkout, self.models[model])

    @property
    def _checkout(self) -> Path | None:
        return resolve_path(self.settings.findings) if self.settings.findings else None

    def validate(self) -> None:
        """Look at every name that was given, before anything is collected. Raises UnineuronError."""
        given = self.settings.controls
        if unknown := set(given) - {"default", "none"} - set(controls.CONTROLS):
            raise OptionError(
                f"--unineuron-controls: there is no control {', '.join(sorted(unknown))}; "
                f"choose default, none, or from {', '.join(controls.CONTROLS)}"
            )
        if "none" in given and len(given) > 1:
            raise OptionError(f"--unineuron-controls: none stands alone, but was given with {len(given) - 1} more")
        if self.settings.baseline and self._path(self.config, self.settings.baseline) == self.out / REPORT:
            raise OptionError(
                f"--unineuron-baseline={self.settings.baseline}: is what this run is going to write; accept it under "
                "another name: pytest-unineuron accept --baseline FILE"
            )
        for text in self.settings.waive:
            Waiver.parse(text)
        if self.settings.write_lock and self.write_lock.exists():
            raise OptionError(
                f"--unineuron-write-lock={self.settings.write_lock}: is there already, and a lock is not written "
                "twice; name another file, or remove this one if nothing was tested under it"
            )
        for name in ("models", "seeds", "new_data", "reference", "findings"):
            getattr(self, name)
        if self.settings.out != options.defaults().out and (reason := obstacle(self.out)):
            raise OptionError(f"--unineuron-out={self.settings.out}: cannot be written to: {reason}")


KEY = pytest.StashKey[Session]()
PROCESSES = pytest.StashKey[ProcessGroup]()
"""The processes that share the passes of this one, where it only gathers what a later run reads."""
