"""The neurons of one model on one corpus, as a trial sees them: finished statistics, one number per neuron."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron.statistics import POST, PRE, RESIDUAL, UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_unineuron.activations.sweep import Swept


class Units:
    """The statistics of the units at one site. Every array is [unit], float64, over all layers in order."""

    def __init__(self, swept: Callable[[str], Swept], site: str) -> None:
        self._swept = swept
        self._site = site

    def total(self, statistic: str) -> Any:
        """One swept statistic over all groups, as it was gathered."""
        return self._swept(self._site).total(self._site, statistic)

    def _of(self, statistic: str, value: str) -> NDArray[np.float64]:
        return np.asarray(getattr(self.total(statistic), value).numpy())

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean over tokens."""
        return self._of("moments", "mean")

    @cached_property
    def variance(self) -> NDArray[np.float64]:
        """Population variance over tokens."""
        return self._of("moments", "variance")

    @cached_property
    def skew(self) -> NDArray[np.float64]:
        """Third standardised moment; nan for a unit that never varied."""
        return self._of("moments", "skew")

    @cached_property
    def kurtosis(self) -> NDArray[np.float64]:
        """Pearson kurtosis (a Normal has 3); nan for a unit that never varied."""
        return self._of("moments", "kurtosis")

    @cached_property
    def density(self) -> NDArray[np.float64]:
        """Share of tokens with a value above zero; the paper calls it sparsity."""
        return self._of("firing", "density")

    @cached_property
    def pooled_kurtosis(self) -> float:
        """Pearson kurtosis of all units and tokens thrown together, as a flattened array has it."""
        return float(self.total("moments").pooled().kurtosis)


class Neurons:
    """Every MLP neuron of one model on one corpus.

    ``pre`` and ``post`` are the sites before and after the activation function, ``residual`` is the stream
    after half of the blocks, ``up`` the other factor of gated neurons, over gated layers only. The neurons' own
    statistics are those of the pre-activation, as in the paper. A sample of document groups: ``without(group)``
    is the same without one of them.

    ``swept`` gives the finished statistics in which a site is found: one and the same for all of them, unless
    a control makes some too dear to gather unasked.
    """

    def __init__(self, swept: Callable[[str], Swept], layer: NDArray[np.int64]) -> None:
        self._swept = swept
        self.layer = layer
        """The layer of each neuron, [neuron]."""
        self.pre = Units(swept, PRE)
        self.post = Units(swept, POST)
        self.residual = Units(swept, RESIDUAL)
        self.up = Units(swept, UP)

    @property
    def groups(self) -> int:
        """How many groups the documents were dealt into."""
        return self._swept(PRE).groups

    def without(self, group: int) -> Neurons:
        """The neurons as they are without one group of documents."""
        return Neurons(lambda site: self._swept(site).without(group), self.layer)

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def tokens(self) -> int:
        """Tokens of text that were counted."""
        return sum(self._swept(PRE).tokens)

    @property
    def documents(self) -> int:
        """Documents they came from."""
        return sum(self._swept(PRE).documents)

    @property
    def kurtosis(self) -> NDArray[np.float64]:
        """Pearson kurtosis of the pre-activation, [neuron]."""
        return self.pre.kurtosis

    @property
    def skew(self) -> NDArray[np.float64]:
        """Skew of the pre-activation, [neuron]."""
        return self.pre.skew

    @property
    def density(self) -> NDArray[np.float64]:
        """Share of tokens with a pre-activation above zero, [neuron]."""
        return self.pre.density

    @property
    def routed(self) -> NDArray[np.float64]:
        """Share of the tokens that each neuron was seen at, [neuron]: 1 unless it is an expert's.

        Statistics of an expert's neuron are over the tokens that were routed to it.
        """
        count = np.broadcast_to(self.pre.total("moments").count.numpy(), self.layer.shape)
        return np.asarray(count / self.tokens)

    def extremes(self) -> Any:
        """The strongest post-activations of each neuron and their token numbers, [rank, neuron]."""
        return self.post.total("extremes")
