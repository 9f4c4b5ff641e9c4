"""The models of a run: each is loaded and dissected once, and held while there is memory for it."""

from __future__ import annotations

import copy
import zlib
from collections import OrderedDict
from dataclasses import replace
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron import controls
from pytest_unineuron.errors import ModelError, NeuronsNotFound, OptionError, first_line
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.models.discovery import verification
from pytest_unineuron.models.discovery.anatomy import Anatomy, probe_ids
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache
from pytest_unineuron.models.loading.devices import SPREAD_MODES
from pytest_unineuron.models.loading.load import LoadedModel, load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options.settings import CPU_POSITIONS, GPU_POSITIONS
from pytest_unineuron.system.machine import GIB, chosen_gpu, free_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_unineuron.cache.digests import Digests
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

MEMORY_SHARE = 0.4
"""Share of the free memory that models may take, so that an arm is loaded once and not once per trial."""
ASSUMED_FREE = 4 * GIB
"""Free bytes of memory on a system that does not report them."""


class Models:
    """Loaded models by arm, and the anatomy of each model.

    ``sources`` maps labels to models; the seeds that are found are added to it. ``notify`` is given the facts of every
    model that was loaded and checked. ``folder`` stores anatomies between runs, ``digests`` computes those of weight
    files.
    """

    def __init__(
        self,
        settings: Settings,
        sources: dict[str, Source],
        notify: Callable[[dict[str, Any]], None],
        folder: Path | None = None,
        digests: Digests | None = None,
    ) -> None:
        self.settings = settings
        self._sources = sources
        self._notify = notify
        self._models: OrderedDict[Arm, LoadedModel] = OrderedDict()
        self._anatomies = AnatomyCache(folder)
        self._digests = digests
        self._verified: dict[str, verification.Verification] = {}
        self._errors: dict[str, ModelError] = {}
        self.anatomy = cache(self._anatomy)

    @cached_property
    def device(self) -> str:
        """The device on which models run. Raises OptionError for one that cannot be used."""
        asked = self.settings.device
        if asked == "auto":
            return chosen_gpu(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        if asked in SPREAD_MODES:
            if find_spec("accelerate") is None:
                raise OptionError(f'--unineuron-device={asked}: pip install "pytest-unineuron[accelerate]"')
            return asked
        try:
            torch.zeros(1, device=asked, dtype=torch.float64)  # the type of all sums
        except (RuntimeError, AssertionError, TypeError) as error:
            raise OptionError(
                f"--unineuron-device={asked}: cannot be used here ({first_line(error)}); try cpu"
            ) from None
        return asked

    @property
    def positions(self) -> int:
        """The approximate number of tokens of one forward pass."""
        return self.settings.batch or (CPU_POSITIONS if self.device == "cpu" else GPU_POSITIONS)

    def loaded(self, arm: Arm) -> LoadedModel:
        """Return the model of an arm. Arms whose control replaces no weights share the model itself.

        Raises ModelError. A model that could not be loaded is not tried again.
        """
        if not (arm.replaces(controls.MODEL) or arm.replaces(controls.SEED)):
            arm = Arm(arm.model)
        if arm.model in self._errors:
            raise self._errors[arm.model]
        if arm not in self._models:
            self._models[arm] = self._control(arm) if arm.control else self._load(arm.model)
        self._models.move_to_end(arm)
        while len(self._models) > 2 and self._bytes() > MEMORY_SHARE * (free_memory() or ASSUMED_FREE):
            self._models.popitem(last=False)
        return self._models[arm]

    def _control(self, arm: Arm) -> LoadedModel:
        """The model of a control arm, made from the model itself."""
        subject, make = self.loaded(Arm(arm.model)), controls.CONTROLS[arm.control].load()
        drawn = self.loaded(self.other_seed(arm)).model if arm.replaces(controls.SEED) else arm.seed
        # A control from outside may change what it is given.
        given = subject.model if arm.control in controls.BUILT_IN else copy.deepcopy(subject.model)
        return replace(subject, model=make(given, drawn), weights_digest="")

    def seeds(self, model: str) -> tuple[str, ...]:
        """Return the labels of the further seeds of a model. Raises NotApplicable if there are none."""
        labels = {source.spec: label for label, source in self._sources.items()}
        specs = seeds_compared_with(self._sources[model], self.settings.seed)
        for spec in specs:
            if spec not in labels:
                # The name of a seed may be the label of a model under test.
                labels[spec] = spec if spec not in self._sources else f"seed {spec}"
                self._sources[labels[spec]] = parse_source(spec)
        return tuple(labels[spec] for spec in specs)

    def other_seed(self, arm: Arm) -> Arm:
        """Return the further seed whose weights an arm has: draws take the seeds in turn. Raises NotApplicable."""
        seeds = self.seeds(arm.model)
        return Arm(seeds[(arm.draw - 1) % len(seeds)])

    def _load(self, model: str) -> LoadedModel:
        source = self._sources[model]
        seed = zlib.crc32(source.spec.encode())  # so that untrained models of different names are different draws
        try:
            return load_model(source, dtype=self.settings.dtype, device=self.device, seed=seed, digests=self._digests)
        except ModelError as error:
            self._errors[model] = error
            raise

    def release(self) -> None:
        """Release every model in memory. A model is loaded again when it is asked for."""
        self._models.clear()

    def release_control(self, arm: Arm) -> None:
        """Release the model of a control arm, if it has one of its own."""
        self._models.pop(arm, None)

    def _bytes(self) -> int:
        return sum(m.parameters * m.model.dtype.itemsize for m in self._models.values())

    def _anatomy(self, model: str) -> Anatomy:
        """The anatomy of a model, found once and verified; its control arms share it."""
        loaded = self.loaded(Arm(model))
        try:
            found, verified = self._find_anatomy(loaded)
        except ModelError as error:
            self._errors[model] = type(error)(f"model {self._sources[model].spec}: {error}")
            raise self._errors[model] from None
        self._verified[model] = verified
        facts = {
            "spec": self._sources[model].spec,
            "class": type(loaded.model).__name__,
            "parameters": loaded.parameters,
            "weights_sha256": loaded.weights_digest or None,
            "dtype": self.settings.dtype,
            "neurons": found.layout.per_token.n_neurons,
            "sites": [str(layer) for layer in found.layout.layers],
            "verified": verified.facts(),
        }
        self._notify({"kind": "model", "label": model, "facts": facts})
        return replace(found, layout=found.layout.per_token)

    def _find_anatomy(self, loaded: LoadedModel) -> tuple[Anatomy, verification.Verification]:
        """The anatomy of a model and its verification. Raises NeuronsNotFound."""
        ids = probe_ids(loaded, rows=2)
        found, from_cache = self._anatomies.get_or_dissect(loaded, self.settings.neurons)
        try:
            verified = verification.verify(loaded.model, found.layout, ids)
        except Exception:  # a wrong anatomy in the cache can raise any error
            if not from_cache:
                raise
            found, _ = self._anatomies.get_or_dissect(loaded, self.settings.neurons, fresh=True)
            verified = verification.verify(loaded.model, found.layout, ids)
        if not found.layout.per_token.layers:
            raise NeuronsNotFound(f"{type(loaded.model).__name__}: its MLPs read other positions than the text's")
        return found, verified

    def verified(self, model: str) -> dict[str, Any]:
        """Return for every identity that was checked in a model the number of layers and the largest error.

        Raises NeuronsNotFound and ModelError.
        """
        self.anatomy(model)
        return self._verified[model].facts()
