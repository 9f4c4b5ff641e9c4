"""The neurons of a model on the texts of the public evaluations, set by set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_unineuron.corpora import public_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_unineuron.corpora.blocks import Blocks
    from pytest_unineuron.lab.neurons import Neurons


class PublicTexts:
    """Sets of texts by name: ``texts["news 1"]`` are the neurons on that text alone, without an interval."""

    def __init__(self, neurons: Neurons, blocks: Blocks) -> None:
        self._neurons = neurons
        self._blocks = blocks
        self._numbers = {name: number for number, name in enumerate(public_texts.sets())}

    def __getitem__(self, name: str) -> Neurons:
        """The neurons on the texts of one set."""
        return self._neurons.only(self._numbers[name])

    def of(self, kind: str) -> dict[str, Neurons]:
        """Return the neurons on each text of a kind, by the name of the text: ``news 1``, ``news 2``."""
        return {name: self[name] for name in self._numbers if name.rpartition(" ")[0] == kind}

    def words(self, name: str) -> NDArray[np.float64]:
        """Return the post-activation at the last token of each of the first words, over the texts of a set.

        The array is [word, neuron], float64.
        """
        found = self[name].post.total("label_means")
        known = (found.count > 0).all(dim=1)
        return np.asarray(found.mean[known].numpy())

    def ids(self, name: str) -> NDArray[np.int64]:
        """Return the tokens of the texts of one set, [token], without special tokens."""
        blocks = [block for block in self._blocks.blocks if block.document == self._numbers[name]]
        return np.array([i for block in blocks for i, text in zip(block.ids, block.text_mask, strict=True) if text])
