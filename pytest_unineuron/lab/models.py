"""The models of a run: loaded once, dissected once, kept as long as there is room."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import replace
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron import controls
from pytest_unineuron.errors import ModelError, NeuronsNotFound, OptionError
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.models.discovery import verification
from pytest_unineuron.models.discovery.anatomy import Anatomy, probe_ids
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache
from pytest_unineuron.models.loading.devices import SPREAD_MODES
from pytest_unineuron.models.loading.load import LoadedModel, load_model
from pytest_unineuron.system.machine import chosen_gpu, free_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_unineuron.cache.digests import Digests
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

MEMORY_SHARE = 0.4
"""Share of the free memory that models may stay in, so that an arm is loaded once and not once per trial."""
ASSUMED_FREE = 4 * 2**30
"""Free bytes where the system does not say."""
CPU_POSITIONS, GPU_POSITIONS = 1024, 32_768
"""Tokens per forward pass, unless another number is asked for: on a CPU they stay in its cache."""


class Models:
    """Models by arm, and by model where their neurons, norms and heads are.

    ``sources`` maps labels to models and may grow. ``notify`` is given the facts of every model that was loaded and
    checked. ``folder`` is where anatomies are stored by configuration; ``digests`` may know those of weight files.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, Source],
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
        self._broken: dict[str, ModelError] = {}
        self.anatomy = cache(self._anatomy)

    @cached_property
    def device(self) -> str:
        """Where models run. Raises OptionError for a device that is not there."""
        asked = self.settings.device
        if asked == "auto":
            return chosen_gpu(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        if asked in SPREAD_MODES:
            if find_spec("accelerate") is None:
                raise OptionError(f'--unineuron-device={asked}: pip install "pytest-unineuron[accelerate]"')
            return asked
        try:
            torch.zeros(1, device=asked, dtype=torch.float64)  # in which sums are kept
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise OptionError(f"--unineuron-device={asked}: cannot be used here ({reason}); try cpu") from None
        return asked

    @property
    def positions(self) -> int:
        """About how many tokens are read in one forward pass."""
        return self.settings.batch or (CPU_POSITIONS if self.device == "cpu" else GPU_POSITIONS)

    def loaded(self, arm: Arm) -> LoadedModel:
        """The model of an arm, loaded or made. A rotation or a change of text leaves the model as it is.

        Raises ModelError; a model that could not be loaded once is not tried again.
        """
        if not arm.replaces(controls.MODEL):
            arm = Arm(arm.model)
        if arm.model in self._broken:
            raise self._broken[arm.model]
        if arm not in self._models:
            self._models[arm] = self._control(arm) if arm.control else self._load(arm.model)
        self._models.move_to_end(arm)
        while len(self._models) > 2 and self._bytes() > MEMORY_SHARE * (free_memory() or ASSUMED_FREE):
            self._models.popitem(last=False)
        return self._models[arm]

    def _control(self, arm: Arm) -> LoadedModel:
        """The model of a control arm, made of the subject's."""
        subject = self.loaded(Arm(arm.model))
        model = controls.CONTROLS[arm.control].load()(subject.model, arm.seed)
        return replace(subject, model=model, weights_digest="")

    def _load(self, model: str) -> LoadedModel:
        source = self._sources[model]
        seed = zlib.crc32(source.spec.encode())  # untrained models of different names are different draws
        try:
            return load_model(source, dtype=self.settings.dtype, device=self.device, seed=seed, digests=self._digests)
        except ModelError as error:
            self._broken[model] = error
            raise

    def release(self) -> None:
        """Let go of every model in memory; each is loaded again when it is asked for."""
        self._models.clear()

    def _bytes(self) -> int:
        return sum(m.parameters * m.model.dtype.itemsize for m in self._models.values())

    def _anatomy(self, model: str) -> Anatomy:
        """The anatomy of a model, found once and checked; its control arms share it."""
        loaded = self.loaded(Arm(model))
        try:
            found, verified = self._found(loaded)
        except ModelError as error:
            self._broken[model] = type(error)(f"model {self._sources[model].spec}: {error}")
            raise self._broken[model] from None
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

    def _found(self, loaded: LoadedModel) -> tuple[Anatomy, verification.Verification]:
        """Where things are in a model, and how well that was confirmed. Raises NeuronsNotFound."""
        ids = probe_ids(loaded, rows=2)
        found, remembered = self._anatomies.get_or_dissect(loaded, self.settings.neurons)
        try:
            verified = verification.verify(loaded.model, found.layout, ids)
        except Exception:  # what is remembered wrongly can break in any way
            if not remembered:
                raise
            found, _ = self._anatomies.get_or_dissect(loaded, self.settings.neurons, fresh=True)
            verified = verification.verify(loaded.model, found.layout, ids)
        if not found.layout.per_token.layers:
            raise NeuronsNotFound(f"{type(loaded.model).__name__}: its MLPs read other positions than the text's")
        return found, verified

    def verified(self, model: str) -> dict[str, Any]:
        """Every identity that was checked when a model was loaded: at how many layers, and its largest error."""
        self.anatomy(model)
        return self._verified[model].facts()
