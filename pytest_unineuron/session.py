"""One pytest session in one process: what was asked for, and everything its hooks share."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_unineuron import controls, options, process
from pytest_unineuron.collector import Collector
from pytest_unineuron.corpora import find as corpora_named
from pytest_unineuron.errors import OptionError
from pytest_unineuron.models import source
from pytest_unineuron.planning import Planner
from pytest_unineuron.reports.write import obstacle
from pytest_unineuron.running import Runner

if TYPE_CHECKING:
    from pytest_unineuron.lab import Lab


class Session:
    """State of one process, kept in ``config.stash[KEY]``: settings, plan, running items and results."""

    def __init__(self, config: pytest.Config, settings: options.Settings) -> None:
        self.config = config
        self.settings = settings
        self.collector = Collector(settings)
        self.planner = Planner(self)
        self.runner = Runner(self)

    @property
    def worker(self) -> str:
        """The id of this xdist worker; empty in the controller and in a run without workers."""
        return str(getattr(self.config, "workerinput", {}).get("workerid", ""))

    @property
    def out(self) -> Path:
        """The folder for reports, relative to where pytest was started."""
        return (self.config.invocation_params.dir / Path(self.settings.out).expanduser()).resolve()

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
        from pytest_unineuron.progress import bar

        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        corpora = {**self.new_data, self.reference: self.settings.reference}
        comparing = {(case.model, case.corpus) for case in self.planner.comparing}
        drawn = bar(self.config)
        return Lab(self.settings, self.models, corpora, workers=workers, comparing=comparing,
                   progress=drawn.over if drawn else None, folder=self._cache)  # fmt: skip

    @property
    def _cache(self) -> Path | None:
        """Our folder in pytest's cache, unless that is switched off."""
        cache = getattr(self.config, "cache", None)
        return cache.mkdir("unineuron") if cache is not None else None

    @property
    def has_lab(self) -> bool:
        """Whether anything was measured in this process yet."""
        return "lab" in self.__dict__

    @cached_property
    def findings(self) -> dict[str, dict[str, float]] | None:
        """The paper's published numbers, if a checkout of its tables was named. Raises FindingsError."""
        if self._checkout is None:
            return None
        from pytest_unineuron.findings import read

        return read(self._checkout)

    def published(self, model: str) -> Path | None:
        """The table of the universal neurons published for a model, if the tables were named and have one."""
        if self._checkout is None:
            return None
        from pytest_unineuron.findings import table

        return table(self._checkout, self.models[model])

    @property
    def _checkout(self) -> Path | None:
        return Path(self.settings.findings).expanduser() if self.settings.findings else None

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
        for name in ("models", "seeds", "new_data", "reference", "findings"):
            getattr(self, name)
        if self.settings.out != options.defaults().out and (reason := obstacle(self.out)):
            raise OptionError(f"--unineuron-out={self.settings.out}: cannot be written to: {reason}")


KEY = pytest.StashKey[Session]()
