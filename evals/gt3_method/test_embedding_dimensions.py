"""GT3: are single dimensions of the embedding more than an arbitrary basis?"""

import numpy as np
import pytest

from pytest_unineuron.statistics.basis import column_kurtosis, exchanges, kurtosis_deviation, rotations, some_rows
from pytest_unineuron.statistics.resampling import against_draws

DRAWS = 20


@pytest.mark.gt3(source="notebook")
def test_notebook_high_kurtosis_dimensions(weights, measure):
    """Some embedding dimensions have a kurtosis over the vocabulary above the 90th percentile of all of them."""
    kurtosis = column_kurtosis(weights.embedding)  # [dimension]
    measure("dimensions above their own 90th percentile", int(np.sum(kurtosis > np.percentile(kurtosis, 90))), above=0)


@pytest.mark.gt3(source="Elhage et al. 2023, privileged bases; catalogue GT3-V")
def test_embedding_basis_is_privileged(weights, measure):
    """Some embedding dimensions have heavier tails than others, more than random bases and exchanged entries have.

    Independent entries with heavy tails are a privileged basis too, made by hand: exchanging the entries of each row
    leaves them as they were.
    """
    embedding = some_rows(weights.embedding, 16_384)
    own = kurtosis_deviation(embedding)
    for name, nulls in (("random bases", rotations), ("exchanged entries", exchanges)):
        null = [kurtosis_deviation(matrix) for matrix in nulls(embedding, DRAWS)]
        measure(f"deviation of log kurtosis over dimensions, beyond {name}", against_draws(own, null), above=0)
