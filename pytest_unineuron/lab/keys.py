"""Keys of stored results: the content of everything that they depend on, never names or places."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.cache.source_code import INSTRUMENTS, own_digest
from pytest_unineuron.options.settings import Affects
from pytest_unineuron.statistics.gemm import product_library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.corpora.blocks import Blocks
    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.lab.models import Models
    from pytest_unineuron.models.loading.load import LoadedModel
    from pytest_unineuron.options.settings import Settings

LIBRARIES = ("torch", "transformers", "tokenizers")
"""Libraries that run the models."""


class Keys:
    """Makes the keys of the results of a run.

    Settings that affect the text are in a key through the tokens that were read, and those that affect rounding
    through their value in force.
    """

    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings = settings
        self._models = models

    def sweep(self, arm: Arm, loaded: LoadedModel, blocks: Blocks, statistics: Any, positions: int) -> dict[str, Any]:
        """The key of statistics of an arm reading ``blocks``, ``positions`` at a time."""
        return {**self._pass(arm, loaded, blocks, positions), "statistics": statistics}

    def comparison(
        self, arm: Arm, loaded: LoadedModel, blocks: Blocks, seeds: Sequence[LoadedModel], positions: int
    ) -> dict[str, Any]:
        """The key of the comparison of an arm with seeds, both reading ``blocks``, ``positions`` at a time."""
        return {
            **self._pass(arm, loaded, blocks, positions),
            "seeds": [_model(seed) for seed in seeds],
            "comparison": self._settings.affecting(Affects.COMPARISON),
        }

    def _pass(self, arm: Arm, loaded: LoadedModel, blocks: Blocks, positions: int) -> dict[str, Any]:
        return {
            "instruments": own_digest(*INSTRUMENTS),
            "libraries": {name: version(name) for name in LIBRARIES},
            "model": _model(loaded),
            "control": [arm.control, arm.draw],
            "text": blocks.digest,
            "activations": self._settings.affecting(Affects.ACTIVATIONS),
            "arithmetic": {
                "device": self._models.device.partition(":")[0],
                "products": product_library(),
                "precision": torch.get_float32_matmul_precision(),
                "positions": positions,
            },
        }


def _model(loaded: LoadedModel) -> list[str]:
    """Digests of a model's files, and of its weights as they were loaded."""
    return [loaded.files_digest, loaded.weights_digest]
