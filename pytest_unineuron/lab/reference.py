"""The paper's own numbers, and what weights give for them: the end-to-end check of reading and folding weights.

The values are rows of ``reference.csv``, each with where it was printed; ``digits`` is how many decimals were.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.statistics.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pytest_unineuron.models.view import SiteWeights, View


@dataclass(frozen=True)
class Reference:
    """A published number. ``layer`` and ``neuron`` are None for one that is about the whole model."""

    model: str
    quantity: str
    layer: int | None
    neuron: int | None
    value: float
    digits: int
    source: str

    @property
    def within(self) -> float:
        """How far from it a measured value may be: half a unit of the last digit, and float32 of as many terms."""
        return 0.5 * 10.0**-self.digits + 2e-5 * abs(self.value) if self.digits else 0.0


def references() -> list[Reference]:
    """Every published value that is checked."""
    table = (files(__package__) / "reference.csv").read_text(encoding="utf-8")
    return [
        Reference(
            model=row["model"],
            quantity=row["quantity"],
            layer=int(row["layer"]) if row["layer"] else None,
            neuron=int(row["neuron"]) if row["neuron"] else None,
            value=float(row["value"]),
            digits=int(row["digits"]),
            source=row["source"],
        )
        for row in csv.DictReader(table.splitlines())
    ]


def measured(view: View, reference: Reference) -> float:
    """What a model's weights give for a published quantity. Raises NotApplicable for what they do not have.

    Neuron by neuron the names are those of the published tables: ``w_in_norm``, ``input_bias``, ``w_out_norm``,
    ``in_out_sim``, ``l2_penalty``, and ``vocab_mean``, ``_var``, ``_skew``, ``_kurt`` of the cosine with every
    column of the unembedding, all folded.
    """
    if reference.layer is None or reference.neuron is None:
        return float(_COUNTS[reference.quantity](view))
    (site,) = [site for site in view.sites if site.layer == reference.layer]
    if reference.quantity.startswith("vocab_"):
        return _vocabulary(view, site, reference.neuron)[reference.quantity.removeprefix("vocab_")]
    return _NEURON[reference.quantity](site, reference.neuron)


def _negative(view: View) -> int:
    biases = [site.raw_bias for site in view.sites if site.raw_bias is not None]
    if not biases:
        raise NotApplicable("the MLPs of this model have no input bias")
    return sum(int((bias < 0).sum()) for bias in biases)


_COUNTS: dict[str, Callable[[View], float]] = {
    "negative raw biases": _negative,
    "neurons": lambda view: sum(len(site.read) for site in view.sites),
}


def _bias(site: SiteWeights, neuron: int) -> float:
    if site.bias is None:
        raise NotApplicable("the MLPs of this model have no input bias")
    return float(site.bias[neuron])


def _norm(vector: Tensor) -> float:
    return float(vector.double().norm())


_NEURON: dict[str, Callable[[SiteWeights, int], float]] = {
    "w_in_norm": lambda site, neuron: _norm(site.read[neuron]),
    "w_out_norm": lambda site, neuron: _norm(site.write[neuron]),
    "input_bias": _bias,
    "in_out_sim": lambda site, neuron: float(torch.cosine_similarity(site.read[neuron], site.write[neuron], dim=0)),
    "l2_penalty": lambda site, neuron: _norm(site.read[neuron]) ** 2 + _norm(site.write[neuron]) ** 2,
}


def _vocabulary(view: View, site: SiteWeights, neuron: int) -> dict[str, float]:
    """Moments over the vocabulary of the cosine of what a neuron writes with every column of the unembedding."""
    cosines = torch.cosine_similarity(view.unembedding, site.write[neuron][None], dim=1)[:, None]
    tokens = torch.arange(len(cosines))
    found = Moments.of(cosines.double(), tokens, tokens)
    return {
        "mean": float(found.mean),
        "var": float(found.variance),
        "skew": float(found.skew),
        "kurt": float(found.kurtosis),
    }
