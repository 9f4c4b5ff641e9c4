"""The neurons of one model on one corpus as trials read them: finished statistics, one number per neuron."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron.activations.sinks import Sinks
from pytest_unineuron.errors import TrialError
from pytest_unineuron.statistics import EXTREMES, POST, PRE, RESIDUAL, UP, statistic_with
from pytest_unineuron.universality.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_unineuron.activations.sweep import SweepResult
    from pytest_unineuron.statistics.extremes import Extremes


class Units:
    """The statistics of the units at one site. Every array is [unit], float64, over all layers in order."""

    def __init__(self, result_at: Callable[[str], SweepResult], site: str) -> None:
        self._result_at = result_at
        self._site = site

    def total(self, statistic: str) -> Any:
        """Return one statistic over all groups. Raises NotApplicable for a site that the model does not have."""
        return self._result_at(self._site).total(self._site, statistic)

    def _array(self, statistic: str, value: str) -> NDArray[np.float64]:
        return np.asarray(getattr(self.total(statistic), value).numpy())

    def __getattr__(self, value: str) -> NDArray[np.float64]:
        """A property of a statistic that an extension adds at this site, [unit]."""
        statistic = "" if value.startswith("_") else statistic_with(value, self._site)
        if not statistic:
            raise AttributeError(f"no statistic at the {self._site} site has {value!r}; see pytest_unineuron.extend")
        return self._array(statistic, value)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean over tokens, [unit]."""
        return self._array("moments", "mean")

    @cached_property
    def variance(self) -> NDArray[np.float64]:
        """Population variance over tokens, [unit]."""
        return self._array("moments", "variance")

    @cached_property
    def skew(self) -> NDArray[np.float64]:
        """Third standardised moment, [unit]; nan for a unit that never varied."""
        return self._array("moments", "skew")

    @cached_property
    def kurtosis(self) -> NDArray[np.float64]:
        """Pearson kurtosis (a Normal has 3), [unit]; nan for a unit that never varied."""
        return self._array("moments", "kurtosis")

    @cached_property
    def density(self) -> NDArray[np.float64]:
        """Share of tokens with a value above zero, [unit], the sparsity of Gurnee et al. 2024, figure 3."""
        return self._array("firing", "density")

    @cached_property
    def pooled_kurtosis(self) -> float:
        """Pearson kurtosis of the values of all units and tokens together."""
        return float(self.total("moments").pooled().kurtosis)


class Neurons:
    """Every MLP neuron of one model on one corpus.

    ``pre`` and ``post`` are the sites before and after the activation function, ``residual`` is the stream after half
    of the blocks, ``up`` the up projection of gated neurons, over gated layers only. The neurons' own statistics are
    those of the pre-activation, as in the paper (Gurnee et al. 2024, section 4.2). Statistics at ``post`` and ``up``
    take a pass of their own unless a fixture asks for them. For the jackknife,
    ``without(group)`` leaves one group of documents out. The model's attention sinks are left out in all of its arms;
    ``with_sinks`` has them.

    ``result_at`` returns the finished statistics of a site, computed when they are first asked for, and ``sinks`` the
    sinks of the model. For a control arm, ``subject`` are the neurons of the model itself.
    """

    def __init__(
        self,
        result_at: Callable[[str], SweepResult],
        layer: NDArray[np.int64],
        sinks: Callable[[], Sinks] = Sinks,
        subject: Neurons | None = None,
    ) -> None:
        self._result_at = result_at
        self._sinks = sinks
        self.subject = subject
        self.layer = layer
        """The layer of each neuron, [neuron]."""
        self.pre = Units(result_at, PRE)
        self.post = Units(result_at, POST)
        self.residual = Units(result_at, RESIDUAL)
        self.up = Units(result_at, UP)

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return self._result_at(PRE).groups

    def without(self, group: int) -> Neurons:
        """Return the neurons measured without one group of documents."""
        return Neurons(lambda site: self._result_at(site).without(group), self.layer, self._sinks)

    def only(self, group: int) -> Neurons:
        """Return the neurons measured on one group of documents alone."""
        return Neurons(lambda site: self._result_at(site).only(group), self.layer, self._sinks)

    @property
    def sinks(self) -> Sinks:
        """The attention sinks of the model on the corpus, found in the model itself and left out in every arm."""
        return self._sinks()

    @property
    def with_sinks(self) -> Neurons:
        """The neurons measured at all tokens. If there are sinks, they are in one group and have no interval."""
        return Neurons(lambda site: self._result_at(site).with_sinks, self.layer, self._sinks)

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def tokens(self) -> int:
        """The number of text tokens that were read, without sinks."""
        return sum(self._result_at(PRE).tokens)

    @property
    def documents(self) -> int:
        """The number of documents that were read."""
        return sum(self._result_at(PRE).documents)

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
        """Share of the tokens that were routed to each neuron's expert, [neuron]; 1 for a neuron of no expert.

        Statistics of an expert's neurons are over these tokens.
        """
        count = np.broadcast_to(self.pre.total("moments").count.numpy(), self.layer.shape)
        return np.asarray(count / self.tokens)

    def of(self, kind: str) -> Units:
        """Return the statistics of a kind of units that an extension adds, which take a pass of their own."""
        if kind not in KINDS.files:
            known = f"there are {', '.join(KINDS.files)}" if KINDS.files else "no extension adds one"
            raise TrialError(f"neurons.of({kind!r}): no such kind of units; {known}, see pytest_unineuron.extend.units")
        return Units(self._result_at, kind)

    def extremes(self) -> Extremes:
        """Return the largest post-activations of each neuron and their token numbers, [rank, neuron].

        Takes a forward pass of its own unless the fixture ``unineuron_extremes`` asks for them.
        """
        found: Extremes = self._result_at(EXTREMES).total(POST, EXTREMES)
        return found
