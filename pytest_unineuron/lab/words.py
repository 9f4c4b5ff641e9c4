"""Responses of neurons to words, from which trials compute how selective neurons are for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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

    def __init__(self, result: SweepResult, last_token: NDArray[np.int64]) -> None:
        self.last_token = last_token
        self.number = np.arange(len(WORDS)) < len(NUMBERS)
        by_label = result.total(POST, "label_means").mean  # [sentence set × word, neuron]
        self.means: NDArray[np.float64] = by_label.reshape(2, len(WORDS), -1).numpy()
