"""Responses of neurons to words, from which trials compute how selective neurons are for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.controls.rotation import Rotation
from pytest_unineuron.corpora.number_words import NUMBERS, WORDS
from pytest_unineuron.statistics import POST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_unineuron.activations.sweep import SweepResult


class WordResponses:
    """Mean post-activation of every neuron at the last token of every word.

    ``means`` is [sentence set, word, neuron], float64; ``number`` is [word], True for a word that names a number;
    ``last_token`` is [word], the last token of each word.
    """

    def __init__(self, result: SweepResult, sizes: list[int], last_token: NDArray[np.int64]) -> None:
        self._result = result
        self._sizes = sizes
        self.last_token = last_token
        self.number = np.arange(len(WORDS)) < len(NUMBERS)
        by_label = result.total(POST, "label_means").mean  # [sentence set × word, neuron]
        self.means: NDArray[np.float64] = by_label.reshape(2, len(WORDS), -1).numpy()

    def rotated(self, seed: int) -> NDArray[np.float64]:
        """Return ``means`` of the standardised units of each layer in a random basis drawn from a seed.

        The means are rotated instead of the units, which is the same because the mean is linear.
        """
        rotation = Rotation({POST: self._result.total(POST, "moments")}, {POST: self._sizes}, seed)
        flat = torch.from_numpy(self.means).reshape(-1, self.means.shape[-1])
        layers = flat.split(self._sizes, dim=1)
        turned = torch.cat([rotation(POST, index, layer) for index, layer in enumerate(layers)], dim=1)
        return turned.double().reshape(self.means.shape).numpy()
