"""The settings of one pytest run, and the models, corpora and files that they name."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_unineuron import controls
from pytest_unineuron.baseline.gate import ExitStatus, read_baseline
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.cache.store import PARTS_FOLDER, RESULTS_FOLDER, Store
from pytest_unineuron.corpora.find import check_readable, corpora_by_label
from pytest_unineuron.errors import NotApplicable, OptionError, ReportError, did_you_mean
from pytest_unineuron.models.loading import source
from pytest_unineuron.models.loading.devices import DEVICE_KINDS, SPREAD_MODES
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options import settings as declared
from pytest_unineuron.plugin.arguments import Arguments
from pytest_unineuron.reports.github import ERROR, UNUSABLE_BASELINE, Annotation
from pytest_unineuron.reports.step import GitHubStep
from pytest_unineuron.reports.write import REPORT, reason_unwritable
from pytest_unineuron.system.paths import beside, did_you_mean_path, is_folder, resolve_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.options.settings import Settings

T = TypeVar("T")


class Run:
    """The settings of a run and the things that they name, each looked up once.

    Reading an attribute raises UnineuronError if the name cannot be used.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.lock = Lock.read(self.path(settings.lock)) if settings.lock else None
        self.settings, self.overruled = settings.bound(self.lock.settings if self.lock else {})

    def path(self, name: str) -> Path:
        """Return the absolute path of a name that was typed, relative to where pytest was started."""
        return resolve_path(name, self.config.invocation_params.dir).resolve()

    @property
    def worker(self) -> str:
        """The id of this xdist worker; empty in the controller or without workers."""
        return str(getattr(self.config, "workerinput", {}).get("workerid", ""))

    @property
    def out(self) -> Path:
        """The folder for reports."""
        return self.path(self.settings.out)

    @property
    def write_lock(self) -> Path:
        """The file to which a lock is written."""
        return self.path(self.settings.write_lock)

    # -- models and corpora ----------------------------------------------------------------------------------

    @cached_property
    def _labels(self) -> dict[str, str]:
        """The labels that were given to models and corpora, by what was typed for these. Raises OptionError."""
        typed, labels = [*self.settings.models, *self.settings.corpus, self.settings.reference], {}
        for text in self.settings.label:
            name, _, spec = text.partition("=")
            if not name.strip() or not spec:
                raise OptionError(f"--unineuron-label={text}: say NAME=MODEL, such as base=./checkpoints/latest")
            if spec not in typed:
                raise OptionError(f"--unineuron-label={text}: no model or corpus is {spec}{did_you_mean(spec, typed)}")
            if name in typed and name != spec:
                raise OptionError(f"--unineuron-label={text}: another model or corpus is {name}; choose another name")
            labels[spec] = name
        return labels

    def _relabelled(self, found: Mapping[str, tuple[str, T]]) -> dict[str, T]:
        """What was typed and found by label, under the labels that were given. Raises OptionError."""
        labels = [self._labels.get(spec, label) for label, (spec, _) in found.items()]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise OptionError(f"--unineuron-label={twice[0]}=…: two would have this name; choose another")
        return dict(zip(labels, (each for _, each in found.values()), strict=True))

    @cached_property
    def models(self) -> dict[str, source.Source]:
        """The models under test by label. Raises ModelError."""
        found = source.sources_by_label(self.settings.models)
        return self._relabelled({label: (model.spec, model) for label, model in found.items()})

    def repeats(self, case: Case) -> bool:
        """Return whether a draw has the weights of an earlier one: of further seeds, there are only so many."""
        if case.draw == 1 or controls.CONTROLS[case.control].replaces != controls.SEED:
            return False
        try:
            return case.draw > len(seeds_compared_with(self.models[case.model], self.settings.seed))
        except NotApplicable:
            return True

    def models_asked(self, criterion: str) -> list[str]:
        """Return the labels of the models under test that the trials of a criterion are about.

        All of them, unless none was named: the default ones divide the criteria between them. Raises ModelError.
        """
        if self.settings.model:
            return list(self.models)
        return [label for label, each in self.models.items() if criterion in declared.DEFAULT_MODELS[each.spec]]

    @cached_property
    def seeds(self) -> dict[str, source.Source]:
        """The further seeds that were named, by label. Raises ModelError."""
        return source.sources_by_label(self.settings.seed)

    @cached_property
    def corpora(self) -> dict[str, str]:
        """All corpora by label, as they were typed. Raises CorpusError."""
        found = corpora_by_label(tuple(dict.fromkeys((*self.settings.corpus, self.settings.reference))))
        return self._relabelled({label: (spec, spec) for label, spec in found.items()})

    @property
    def new_data(self) -> dict[str, str]:
        """The corpora of new data by label. Raises CorpusError."""
        return {label: spec for label, spec in self.corpora.items() if spec in self.settings.corpus}

    @property
    def reference(self) -> str:
        """The label of the reference corpus. Raises CorpusError."""
        return next(label for label, spec in self.corpora.items() if spec == self.settings.reference)

    def label(self, spec: str) -> str:
        """Return the label of a model under test; the name itself for any other model."""
        return next((label for label, source in self.models.items() if source.spec == spec), spec)

    @cached_property
    def findings(self) -> dict[str, dict[str, float]] | None:
        """The numbers that the paper published, if a folder with its tables was named. Raises FindingsError."""
        if not self.settings.findings:
            return None
        from pytest_unineuron.models.published import original_findings

        return original_findings(resolve_path(self.settings.findings))

    def published(self, model: str) -> Path | None:
        """Return the table of the universal neurons published for a model, if the named folder has one."""
        if not self.settings.findings:
            return None
        from pytest_unineuron.models.published import universal_table

        return universal_table(resolve_path(self.settings.findings), self.models[model])

    # -- cache -----------------------------------------------------------------------------------------------

    @property
    def stores_results(self) -> bool:
        """Whether there is a cache; not under a lock, for which everything is measured again."""
        if self.settings.no_cache or self.settings.lock or self.settings.write_lock:
            return False
        return bool(self.settings.cache or getattr(self.config, "cache", None))

    @property
    def cache_folder(self) -> Path | None:
        """The folder of stored results: the one that was named, or one in pytest's cache; None without a cache."""
        if not self.stores_results:
            return None
        if self.settings.cache:
            return self.path(self.settings.cache)
        cache = getattr(self.config, "cache", None)
        try:
            return cache.mkdir("unineuron") if cache is not None else None
        except OSError:  # pytest reports it
            return None

    def clear_cache(self) -> None:
        """Remove the stored results of the cache that was named; pytest empties its own."""
        if self.settings.cache:
            for name in (RESULTS_FOLDER, PARTS_FOLDER):
                Store(self.path(self.settings.cache), name=name).clear()

    # -- baseline and lock -----------------------------------------------------------------------------------

    @property
    def gated(self) -> bool:
        """Whether a baseline or lock was named on the command line or in the environment, not only in the ini file."""
        return any(
            getattr(self.settings, option.setting)
            and (self.config.getoption(option.key) is not None or option.variable in os.environ)
            for option in declared.OPTIONS
            if option.name in ("baseline", "lock")
        )

    @cached_property
    def accepted(self) -> Evidence | ReportError | None:
        """The baseline, the error if it cannot be used, or None if none was named. Read before anything is measured."""
        return read_baseline(self.path(self.settings.baseline)) if self.settings.baseline else None

    def check_baseline(self) -> None:
        """End the run, before anything is measured, if the baseline that was named for it cannot be used."""
        if self.gated and isinstance(self.accepted, ReportError):
            path = self.path(self.settings.baseline)
            reason = f"{self.accepted}{did_you_mean_path(path)}"
            if step := GitHubStep.of():
                step.print_commands([Annotation(ERROR, UNUSABLE_BASELINE, reason)])
            pytest.exit(reason, returncode=ExitStatus.BASELINE)

    # -- for the report --------------------------------------------------------------------------------------

    @property
    def asked(self) -> dict[str, Any]:
        """The paths, models and corpora of this run, as JSON data."""
        return {
            **Arguments(self.config).as_dict(),
            "models": list(self.models),
            "corpora": [self.reference, *self.new_data],
        }

    # -- validation ------------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Check every setting, before anything is collected. Raises UnineuronError."""
        self._check_controls()
        self._check_device()
        self._check_files()
        for text in self.settings.waive:
            Waiver.parse(text)
        for name in ("models", "seeds", "new_data", "reference", "findings"):
            getattr(self, name)
        self._check_inputs()
        self._check_folders()

    def _check_folders(self) -> None:
        if self.settings.out != declared.Settings().out and (reason := reason_unwritable(self.out)):
            raise OptionError(f"--unineuron-out={self.settings.out}: cannot be written to: {reason}")
        cache = self.cache_folder if self.settings.cache else None
        if cache and not is_folder(cache) and (reason := reason_unwritable(cache)):  # one may be there to be read
            raise OptionError(
                f"--unineuron-cache={self.settings.cache}: cannot be written to: {reason}; name another folder, or say "
                "--unineuron-no-cache"
            )

    def _check_inputs(self) -> None:
        for each in (*self.models.values(), *self.seeds.values()):
            source.check_contents(each)
        for spec in dict.fromkeys((*self.settings.corpus, self.settings.reference)):
            check_readable(spec, field=self.settings.text_field)

    def _check_device(self) -> None:
        """Raises OptionError for a device of no known kind. Whether one is here is known when torch is imported."""
        device = self.settings.device
        if not re.fullmatch(rf"auto|{'|'.join(SPREAD_MODES)}|({'|'.join(DEVICE_KINDS)})(:\d+)?", device):
            raise OptionError(
                f"--unineuron-device={device}: there is no such device; choose auto, {', '.join(DEVICE_KINDS)}, "
                f"one of several such as cuda:1, or {' or '.join(SPREAD_MODES)}{did_you_mean(device, ('cpu', 'cuda'))}"
            )

    def _check_controls(self) -> None:
        given = self.settings.controls
        if unknown := set(given) - set(controls.WORDS) - set(controls.CONTROLS):
            once = "; give the option once for each" if "," in min(unknown) else ""
            raise OptionError(
                f"--unineuron-controls: there is no control {', '.join(sorted(unknown))}; "
                f"choose default, none, or from {', '.join(controls.CONTROLS)}"
                f"{once or did_you_mean(min(unknown), controls.CONTROLS)}"
            )
        if "none" in given and len(given) > 1:
            raise OptionError("--unineuron-controls: none cannot be combined with other values")

    def _check_files(self) -> None:
        if self.settings.baseline and self.path(self.settings.baseline) == self.out / REPORT:
            raise OptionError(
                f"--unineuron-baseline={self.settings.baseline}: is what this run is going to write; accept it under "
                "another name: pytest-unineuron accept --baseline FILE"
            )
        if lock := self.settings.write_lock:
            if is_folder(self.write_lock):
                raise OptionError(
                    f"--unineuron-write-lock={lock}: is a folder; name the file to write first: pytest-unineuron lock "
                    f"FILE {lock}"
                )
            if str(self.write_lock) in beside(self.write_lock):
                raise OptionError(
                    f"--unineuron-write-lock={lock}: exists, and a lock is not written twice; name another file, or "
                    "remove this one if nothing was tested under it"
                )
            if reason := reason_unwritable(self.write_lock):
                raise OptionError(f"--unineuron-write-lock={lock}: cannot be written to: {reason}")
