"""The basis of the token embedding: do its dimensions differ in their tails more than those of other bases?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.statistics.basis import exchanges, kurtosis_deviation, rotations, some_rows

if TYPE_CHECKING:
    from pytest_unineuron.models.weights.weight_view import WeightView

MOST_TOKENS = 16_384
"""Tokens of a larger vocabulary are drawn."""


def tail_deviations(view: WeightView, draws: int) -> tuple[float, list[float], list[float]]:
    """Return how much embedding dimensions differ in their tails, and so much of its nulls, [draw] each.

    It is ``kurtosis_deviation`` of the embedding; then of as many random bases of its space (Elhage et al. 2023), and
    of the embedding with the entries of each row exchanged.
    """
    embedding = some_rows(view.embedding.double().cpu().numpy(), MOST_TOKENS)
    bases, exchanged = (
        [kurtosis_deviation(null) for null in made(embedding, draws)] for made in (rotations, exchanges)
    )
    return kurtosis_deviation(embedding), bases, exchanged
