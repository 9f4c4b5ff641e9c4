"""Families of neurons: the feature of the text that explains most of each neuron's variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.roles.features import Features
from pytest_unineuron.statistics import POST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

MIXTURES = 64
LEAST = 8
"""A feature that fewer tokens have, or lack, explains nothing."""


@dataclass(eq=False)
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
        """Return the share of a unit's variance that a feature explains, [feature, unit], from 0 to 1.

        It is the square of their correlation (Gurnee et al. 2024, section 4.3). It is nan for a unit that never varied,
        and for a feature that fewer than ``LEAST`` tokens have or lack.
        """
        lacks = self.count - self.has
        variance = self.squares - self.total**2 / self.count
        between = self.products - self.has[:, None] * self.total / self.count
        found = between**2 / (self.has * lacks / self.count)[:, None] / variance
        known = ((self.has >= LEAST) & (lacks >= LEAST))[:, None] & (variance > 1e-12 * self.squares)
        return torch.where(known, found, torch.nan)


def families(view: WeightView, batches: Sequence[Batch]) -> dict[str, Any]:
    """Return the feature that explains most of each neuron's post-activation, and how much of it, [neuron] each.

    ``feature`` is its number among ``names``, chosen in the document groups of even numbers, and ``reduction`` is the
    variance that it explains in the others: the best of many features always explains something where it was chosen.
    ``permuted`` is the same with the features of other tokens, and ``mixed`` [layer · MIXTURES] that of random mixtures
    of the standardised neurons of each layer. All are nan, and the feature −1, where nothing is known.
    """
    features = Features(view.loaded.tokenizer, batches)
    sums = feature_sums(view, batches, features)
    layers = [(index, layer.width) for index, layer in enumerate(view.anatomy.layout.per_token.layers)]
    own, null = ([_chosen(sums, permuted, *layer) for layer in layers] for permuted in (False, True))
    widths = [width for _, width in layers]
    return {
        "feature": torch.cat([feature[:width] for (feature, _), width in zip(own, widths, strict=True)]),
        "reduction": torch.cat([found[:width] for (_, found), width in zip(own, widths, strict=True)]),
        "mixed": torch.cat([found[width:] for (_, found), width in zip(own, widths, strict=True)]),
        "permuted": torch.cat([found[:width] for (_, found), width in zip(null, widths, strict=True)]),
        "names": list(features.names),
    }


def feature_sums(
    view: WeightView, batches: Sequence[Batch], features: Features
) -> dict[tuple[bool, int, int], FeatureSums]:
    """Return the sums of every layer, of its neurons and ``MIXTURES`` mixtures of them, with the features of tokens.

    The key says whether the features are those of other tokens of the batch, the half (0 or 1), and the layer.
    """
    sums: dict[tuple[bool, int, int], FeatureSums] = {}
    generator = torch.Generator().manual_seed(0)
    current: list[Any] = []
    mixing: dict[int, Tensor] = {}

    def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        if site != POST:
            return
        half, counted, *labels = current
        rows = torch.arange(len(counted)) if tokens is None else tokens.cpu()
        chosen = counted[rows]
        units = values.cpu()[chosen].double()
        if index not in mixing:
            mixing[index] = torch.randn(units.shape[1], MIXTURES, generator=generator, dtype=torch.float64)
            mixing[index] /= (units.std(dim=0, correction=0) + 1e-12)[:, None]
        units = torch.cat([units, units @ mixing[index]], dim=1)
        for permuted, of_token in enumerate(labels):
            key, found = (bool(permuted), half, index), FeatureSums.of(units, of_token[rows[chosen]])
            sums[key] = sums[key] + found if key in sums else found

    with capture_activations(view.loaded.model, view.anatomy.layout.per_token, receive, stream=False) as capture:
        for batch in batches:
            labels, counted = features.of(batch)
            places = counted.nonzero().flatten()
            permuted = labels.clone()
            permuted[places] = labels[places[torch.randperm(len(places), generator=generator)]]
            current[:] = [batch.group % 2, counted, labels, permuted]
            capture.forward(batch.ids, batch.attention_mask)
    return sums


def _chosen(
    sums: dict[tuple[bool, int, int], FeatureSums], permuted: bool, index: int, width: int
) -> tuple[Tensor, Tensor]:
    """The feature that explains most of the choosing half, and how much of the other it explains, both [unit].

    Only features that are known in both halves count.
    """
    halves = [sums.get((permuted, half, index)) for half in (0, 1)]
    if halves[0] is None or halves[1] is None:  # an expert that no token reached
        return torch.full((width + MIXTURES,), -1), torch.full((width + MIXTURES,), torch.nan, dtype=torch.float64)
    choosing, reading = (half.reduction() for half in halves if half is not None)
    largest, feature = choosing.where(~reading.isnan(), torch.nan).nan_to_num(-1.0).max(dim=0)
    known = largest >= 0
    found = torch.where(known, reading.gather(0, feature[None])[0], torch.nan)
    return torch.where(known, feature, -1), found
