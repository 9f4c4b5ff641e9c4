"""Published numbers about the weights of a model, and the same quantities computed from weights.

Together they test reading and folding of weights from end to end. The numbers are rows of ``reference.csv``, each with
its source.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_unineuron.lab.weights import Weights


@dataclass(frozen=True)
class PublishedNumber:
    """A published number, rounded to ``digits`` decimals, or 0 for a count.

    ``layer`` and ``neuron`` are None for a quantity of the whole model.
    """

    model: str
    quantity: str
    layer: int | None
    neuron: int | None
    value: float
    digits: int
    source: str

    @property
    def tolerance(self) -> float:
        """Half a unit of the last decimal, plus the rounding error of sums in float32; 0 for a count."""
        return 0.5 * 10.0**-self.digits + 2e-5 * abs(self.value) if self.digits else 0.0


def published_numbers() -> list[PublishedNumber]:
    """All rows of ``reference.csv``."""
    table = (files(__package__) / "reference.csv").read_text(encoding="utf-8")
    return [
        PublishedNumber(
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


def compute_quantity(weights: Weights, number: PublishedNumber) -> float:
    """The quantity of a published number, computed from the weights of a model.

    Quantities of a neuron have the names of the published tables: ``w_in_norm``, ``input_bias``, ``w_out_norm``,
    ``in_out_sim``, ``l2_penalty``, and ``vocab_mean``, ``_var``, ``_skew`` and ``_kurt`` of the cosines with all
    columns of the unembedding; all are of folded weights. Raises NotApplicable for weights that the model lacks.
    """
    if number.layer is None or number.neuron is None:
        return float(_COUNTS[number.quantity](weights))
    unit = int(np.flatnonzero(weights.layer == number.layer)[number.neuron])
    if number.quantity in _VOCABULARY:
        return float(getattr(weights.composition, _VOCABULARY[number.quantity])[unit])
    return float(_NEURONS[number.quantity](weights)[unit])


_COUNTS: dict[str, Callable[[Weights], int]] = {
    "negative raw biases": lambda weights: int((weights.raw_bias < 0).sum()),
    "neurons": lambda weights: len(weights.layer),
}
_NEURONS: dict[str, Callable[[Weights], NDArray[np.float64]]] = {
    "w_in_norm": lambda weights: weights.read_norm,
    "w_out_norm": lambda weights: weights.write_norm,
    "input_bias": lambda weights: weights.bias,
    "in_out_sim": lambda weights: weights.cosine,
    "l2_penalty": lambda weights: weights.size,
}
_VOCABULARY = {"vocab_mean": "mean", "vocab_var": "variance", "vocab_skew": "skew", "vocab_kurt": "kurtosis"}
