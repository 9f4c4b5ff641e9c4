"""Keys of stored results: the content of everything that they depend on, never names or places."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron import controls
from pytest_unineuron.cache.source_code import INSTRUMENTS, extension_digest, package_digest
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.options.settings import Affects
from pytest_unineuron.statistics import STATISTICS, statistics_for
from pytest_unineuron.statistics.gemm import product_library
from pytest_unineuron.universality.kinds import KINDS

if TYPE_CHECKING:
    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.lab.comparisons import Comparisons
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.lab.texts import Texts
    from pytest_unineuron.models.loading.load import LoadedModel
    from pytest_unineuron.options.settings import Settings

LIBRARIES = ("torch", "transformers", "tokenizers")
"""Libraries that run the models."""


class Keys:
    """Makes the keys of the results of a run.

    Settings that affect the text are in a key through the tokens that were read, and those that affect rounding
    through their value in force.
    """

    def __init__(self, settings: Settings, models: Models, texts: Texts, comparisons: Comparisons) -> None:
        self._settings = settings
        self._models = models
        self._texts = texts
        self._comparisons = comparisons
        self._source = cache(extension_digest)

    def key(self, job: Request) -> dict[str, Any]:
        """Return the key of a result as plain JSON data. Loads the models that it depends on. Raises UnineuronError."""
        arm = job.arm
        loaded = self._models.loaded(Arm(arm.model))
        common: dict[str, Any] = {
            "what": job.kind,
            "instruments": package_digest(*INSTRUMENTS),
            "libraries": _library_versions(),
            "model": _model(loaded),
            "control": [arm.control, arm.draw],
            "extensions": self._extensions(job),
            "activations": self._settings.affecting(Affects.ACTIVATIONS),
        }
        if arm.replaces(controls.SEED):
            common["other seed"] = _model(self._models.loaded(self._models.other_seed(arm)))
        if not job.corpus:
            return common | {"arithmetic": self._arithmetic(0)}
        blocks = self._texts.blocks(arm.model, job.corpus)
        # Instruments of roles read sinks too, which may not have been looked for yet.
        common["text"] = (replace(blocks, sinks=()) if job.role else blocks).digest
        common |= self._units(job)
        if job.compares_seeds:
            return common | self._comparison(arm.model)
        return common | {
            "statistics": statistics_for(job.sites),
            "arithmetic": self._arithmetic(self._models.positions),
        }

    def _units(self, job: Request) -> dict[str, Any]:
        """Digests of the encoders of the kinds of units that extensions add to a result; empty where they add none."""
        arms = [job.arm, *map(Arm, self._comparisons.seeds(job.arm.model) if job.compares_seeds else ())]
        kinds = {
            kind: [self._comparisons.compared_model(arm).encoding(kind).digest for arm in arms]
            for kind in added_kinds(job)
        }
        return {"units": kinds} if kinds else {}

    def _extensions(self, job: Request) -> dict[str, str]:
        """Digests of the source of the control, the statistics and the units that extensions add to a result."""
        names = {name for of_site in statistics_for(job.sites).values() for name in of_site}
        found = {f"statistic {name}": file for name, file in STATISTICS.files.items() if name in names}
        if job.arm.control in controls.CONTROLS.files:
            found[f"control {job.arm.control}"] = controls.CONTROLS.files[job.arm.control]
        found |= {f"units {kind}": KINDS.files[kind] for kind in added_kinds(job)}
        return {name: self._source(file) for name, file in sorted(found.items())}

    def _comparison(self, model: str) -> dict[str, Any]:
        return {
            "seeds": [_model(self._models.loaded(Arm(seed))) for seed in self._comparisons.seeds(model)],
            "comparison": self._settings.affecting(Affects.COMPARISON),
            "arithmetic": self._arithmetic(self._comparisons.positions(model)),
        }

    def _arithmetic(self, positions: int) -> dict[str, Any]:
        """The things that rounding depends on, for passes that read so many tokens at a time.

        The memory and the batch that were asked for make a difference only by the size of a pass.
        """
        in_force = {"device": self._models.device.partition(":")[0], "batch": positions, "memory": positions}
        return {
            **self._settings.affecting(Affects.ROUNDING),
            **in_force,
            "products": product_library(),
            "precision": torch.get_float32_matmul_precision(),
        }


def added_kinds(job: Request) -> list[str]:
    """Return the kinds of units that extensions add to a result: in a comparison all, else those that are its sites."""
    return [kind for kind in KINDS.files if job.compares_seeds or kind in job.sites]


@cache
def _library_versions() -> dict[str, str]:
    """The versions of ``LIBRARIES``, which are read from the metadata of their packages once."""
    return {name: version(name) for name in LIBRARIES}


def _model(loaded: LoadedModel) -> list[str]:
    """Digests of a model's files, and of its weights as they were loaded."""
    return [loaded.files_digest, loaded.weights_digest]
