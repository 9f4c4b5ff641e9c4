"""Families of neurons: the feature of the text that explains most of each neuron's variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.roles.features import Features
from pytest_unineuron.statistics import POST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

MIXTURES = 512
"""Mixtures of the neurons of each layer. Shares of few of them would be known less well than those of neurons."""
LEAST = 8
"""A feature that fewer tokens have, or lack, explains nothing."""
CONSTANT = 1e-12
"""The sum of squares around the mean of a unit that never varied, as a share of that around zero: rounding alone."""


@dataclass(frozen=True, eq=False)
class FeatureSums:
    """Sums over tokens, float64.

    They are those of ones [], of each feature [feature], of each unit and its square [unit], and of the products of
    both [feature, unit].
    """

    count: Tensor
    has: Tensor
    total: Tensor
    squares: Tensor
    products: Tensor

    @classmethod
    def of(cls, values: Tensor, features: Tensor) -> FeatureSums:
        """Return the sums of the units ``values`` [token, unit] and the 0 and 1 of ``features`` [token, feature]."""
        count = torch.tensor(float(len(values)), dtype=torch.float64)
        return cls(count, features.sum(0), values.sum(0), values.square().sum(0), features.T @ values)

    def __add__(self, other: FeatureSums) -> FeatureSums:
        """Return the sums over the tokens of both."""
        return FeatureSums(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def reduction(self) -> Tensor:
        """Return the share of a unit's variance that a feature explains, [feature, unit]; see ``explained``."""
        return explained(self.count, self.has[:, None], self.total, self.squares, self.products)


def explained(count: Tensor, has: Tensor, total: Tensor, squares: Tensor, products: Tensor) -> Tensor:
    """Return the share of a unit's variance that a feature explains, from 0 to 1, from sums as in ``FeatureSums``.

    It is the square of their correlation (Gurnee et al. 2024, section 4.3). It is nan for a unit that never varied,
    and for a feature that fewer than ``LEAST`` tokens have or lack.
    """
    lacks = count - has
    variance = squares - total**2 / count
    between = products - has * total / count
    known = (has >= LEAST) & (lacks >= LEAST) & (variance > CONSTANT * squares)
    return torch.where(known, between**2 / (has * lacks / count) / variance, torch.nan)


@dataclass(frozen=True, eq=False)
class Families:
    """The feature that explains most of each neuron's post-activation, chosen in the document groups of even numbers.

    ``feature`` [neuron] is its number among ``names``, −1 where none is known. How much it explains is read in the
    other groups, from the sums of ``explained`` in each of them, [sum, group, unit]: of the neurons, of the neurons
    with the features of other tokens, and of ``MIXTURES`` random mixtures of the standardised neurons of each layer,
    which ``mixed_layer`` [mixture] has the number of.
    """

    feature: Tensor
    names: list[str]
    own: Tensor
    permuted: Tensor
    mixed: Tensor
    mixed_layer: Tensor

    @property
    def groups(self) -> int:
        """The number of document groups in which it is read how much features explain."""
        return self.own.shape[1]

    def without(self, group: int) -> Families:
        """Return the families without one of these groups."""
        keep = torch.arange(self.groups) != group
        own, permuted, mixed = (sums[:, keep] for sums in (self.own, self.permuted, self.mixed))
        return Families(self.feature, self.names, own, permuted, mixed, self.mixed_layer)

    @property
    def reduction(self) -> Tensor:
        """The share of the variance of each neuron that its feature explains, [neuron]; nan where none is known."""
        return explained(*self.own.sum(dim=1))

    @property
    def permuted_reduction(self) -> Tensor:
        """The same with the features of other tokens, chosen and read as those of the token itself, [neuron]."""
        return explained(*self.permuted.sum(dim=1))

    @property
    def mixed_reduction(self) -> Tensor:
        """The same of the mixtures, [mixture]."""
        return explained(*self.mixed.sum(dim=1))


def families(view: WeightView, batches: Sequence[Batch], kind: str = "") -> Families:
    """Return the families of a model's neurons, by all features or those of a ``kind``, the first word of their names.

    The best of many features always explains something where it was chosen, so it is read in other documents. Only
    features that enough tokens there have, and lack, are chosen from.
    """
    reader = _Reader(view, batches, kind)
    choosing = {key: sums.reduction() for key, sums in reader.choosing_sums().items()}
    widths = reader.widths
    features = {
        (permuted, index): _largest(choosing.get((permuted, index)), width + MIXTURES, reader.known)
        for permuted in (False, True)
        for index, width in enumerate(widths)
    }
    sums = reader.reading_sums(features)

    def parts(permuted: bool, chosen: slice | None = None) -> Tensor:
        cuts = [chosen or slice(width) for width in widths]
        return torch.cat([sums[permuted, index][:, :, cut] for index, cut in enumerate(cuts)], dim=2)

    feature = torch.cat([features[False, index][:width] for index, width in enumerate(widths)])
    own, permuted, mixed = parts(False), parts(True), parts(False, slice(-MIXTURES, None))
    layers = torch.tensor(view.anatomy.layout.per_token.layer_numbers).repeat_interleave(MIXTURES)
    return Families(feature, list(reader.features.names), own, permuted, mixed, layers)


class _Reader:
    """Runs a model over the batches of even groups, and then over the others."""

    def __init__(self, view: WeightView, batches: Sequence[Batch], kind: str) -> None:
        self._view = view
        self._halves = [[batch for batch in batches if batch.group % 2 == half] for half in (0, 1)]
        self._generator = torch.Generator().manual_seed(0)
        self.widths = [layer.width for layer in view.anatomy.layout.per_token.layers]
        self.features = Features(view.loaded.tokenizer, batches)
        self._mixing: dict[int, Tensor] = {}
        deviations = self._deviations()
        self._mixing = {index: _mixing(index, width, deviations.get(index)) for index, width in enumerate(self.widths)}
        has, lacks = torch.zeros(2, len(self.features.names), dtype=torch.float64)
        for batch in self._halves[1]:
            labels, counted = self.features.of(batch)
            has, lacks = has + labels[counted].sum(0), lacks + (1 - labels[counted]).sum(0)
        of_kind = torch.tensor([name.startswith(f"{kind} " if kind else "") for name in self.features.names])
        self.known = of_kind & (has >= LEAST) & (lacks >= LEAST)

    def _deviations(self) -> dict[int, Tensor]:
        """Return the standard deviation of each unit in the choosing half, [unit], by layer."""
        sums: dict[int, Tensor] = {}

        def add(batch: Batch, key: tuple[bool, int], units: Tensor, labels: Tensor) -> None:
            permuted, index = key
            if not permuted:
                found = torch.stack([torch.ones_like(units), units, units.square()]).sum(dim=1)
                sums[index] = sums[index] + found if index in sums else found

        self._run(self._halves[0], add)
        return {index: _deviation(*of_layer) for index, of_layer in sums.items()}

    def choosing_sums(self) -> dict[tuple[bool, int], FeatureSums]:
        """Return the sums of all features and units of each layer, with whether features are permuted as a key."""
        sums: dict[tuple[bool, int], FeatureSums] = {}

        def add(batch: Batch, key: tuple[bool, int], units: Tensor, labels: Tensor) -> None:
            found = FeatureSums.of(units, labels)
            sums[key] = sums[key] + found if key in sums else found

        self._run(self._halves[0], add)
        return sums

    def reading_sums(self, features: Mapping[tuple[bool, int], Tensor]) -> dict[tuple[bool, int], Tensor]:
        """Return the sums of ``explained`` for the chosen feature of each unit, [sum, group, unit]."""
        groups = sorted({batch.group for batch in self._halves[1]})
        sums = {key: torch.zeros(5, len(groups), len(of), dtype=torch.float64) for key, of in features.items()}

        def add(batch: Batch, key: tuple[bool, int], units: Tensor, labels: Tensor) -> None:
            has = labels[:, features[key].clamp_min(0)].masked_fill_(features[key] < 0, 0.0)  # [token, unit]
            parts = torch.ones_like(units), has, units, units.square(), has * units
            sums[key][:, groups.index(batch.group)] += torch.stack([part.sum(dim=0) for part in parts])

        self._run(self._halves[1], add)
        return sums

    def _run(self, batches: Sequence[Batch], add: Callable[[Batch, tuple[bool, int], Tensor, Tensor], None]) -> None:
        """Give ``add`` the units of each layer and its mixtures [token, unit], with the features of their tokens.

        It gets them twice, with the features of the tokens, and with those of other tokens of the batch.
        """
        current: list[Any] = []

        def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
            if site != POST:
                return
            batch, counted, *labels = current
            rows = torch.arange(len(counted)) if tokens is None else tokens.cpu()
            chosen = counted[rows]
            units = self._with_mixtures(index, values.cpu()[chosen].double())
            for permuted, of_token in enumerate(labels):
                add(batch, (bool(permuted), index), units, of_token[rows[chosen]])

        layout = self._view.anatomy.layout.per_token
        with capture_activations(self._view.loaded.model, layout, receive, stream=False) as capture:
            for batch in batches:
                labels, counted = self.features.of(batch)
                places = counted.nonzero().flatten()
                permuted = labels.clone()
                permuted[places] = labels[places[torch.randperm(len(places), generator=self._generator)]]
                current[:] = [batch, counted, labels, permuted]
                capture.forward(batch.ids, batch.attention_mask)

    def _with_mixtures(self, index: int, units: Tensor) -> Tensor:
        """Add the mixtures, once they are known."""
        return torch.cat([units, units @ self._mixing[index]], dim=1) if self._mixing else units


def _deviation(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """The standard deviation of each unit from its sums, [unit]; ∞ for one that never varied, which is left out."""
    around_mean = squares - total**2 / count
    return torch.where(around_mean > CONSTANT * squares, (around_mean / count).clamp_min(0).sqrt(), torch.inf)


def _mixing(layer: int, width: int, deviation: Tensor | None) -> Tensor:
    """The weights of the standardised units of a layer in its mixtures, [unit, mixture]; 0 if no token reached it."""
    weights = torch.randn(width, MIXTURES, generator=torch.Generator().manual_seed(layer), dtype=torch.float64)
    return torch.zeros_like(weights) if deviation is None else weights / deviation[:, None]


def _largest(reduction: Tensor | None, units: int, known: Tensor) -> Tensor:
    """The feature that explains most of each unit, [unit], of those that are known; −1 where there is none."""
    if reduction is None:  # an expert that no token reached
        return torch.full((units,), -1)
    largest, feature = reduction.masked_fill(~known[:, None], torch.nan).nan_to_num(-1.0).max(dim=0)
    return torch.where(largest >= 0, feature, -1)
