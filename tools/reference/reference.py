"""The paper's own numbers, and what weights give for them: the end-to-end check of reading and folding weights.

The values are rows of ``reference.csv``, each with where it was printed; ``digits`` is how many decimals were.
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


def measured(weights: Weights, reference: Reference) -> float:
    """What a model's weights give for a published quantity. Raises NotApplicable for what they do not have.

    Neuron by neuron the names are those of the published tables: ``w_in_norm``, ``input_bias``, ``w_out_norm``,
    ``in_out_sim``, ``l2_penalty``, and ``vocab_mean``, ``_var``, ``_skew``, ``_kurt`` of the cosine with every
    column of the unembedding, all folded.
    """
    if reference.layer is None or reference.neuron is None:
        return float(_COUNTS[reference.quantity](weights))
    place = int(np.flatnonzero(weights.layer == reference.layer)[reference.neuron])
    if reference.quantity in _VOCABULARY:
        return float(getattr(weights.vocabulary(place), _VOCABULARY[reference.quantity]))
    return float(_NEURONS[reference.quantity](weights)[place])


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
