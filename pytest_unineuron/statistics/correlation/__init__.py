"""Correlations of the units of two models over the same tokens, and of directions of random bases.

Everything follows from sums of one pass: the covariance C₁₂ of the units of two models, and the covariance C₂₂ of the
second model's units within each of its layers. The directions of a rotation R of such a layer have covariance C₁₂ Rᵀ
with the first model and variance diag(R C₂₂ Rᵀ), so that the best direction of a random basis (Gurnee et al. 2024,
section 4.1) takes neither a second pass nor rotated activations.
"""

from pytest_unineuron.statistics.correlation.best_matches import BestMatches, BestMatchSearch
from pytest_unineuron.statistics.correlation.comoments import inverse_deviation
from pytest_unineuron.statistics.correlation.cross import CrossComoments
from pytest_unineuron.statistics.correlation.layer import LayerComoments
from pytest_unineuron.statistics.correlation.pairs import CentredUnits, PairComoments
from pytest_unineuron.statistics.correlation.shifted import ShiftedUnits

__all__ = [
    "BestMatchSearch",
    "BestMatches",
    "CentredUnits",
    "CrossComoments",
    "LayerComoments",
    "PairComoments",
    "ShiftedUnits",
    "inverse_deviation",
]
