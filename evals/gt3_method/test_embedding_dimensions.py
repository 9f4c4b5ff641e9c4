"""GT3: are single dimensions of the embedding more than an arbitrary basis?"""

import numpy as np
import pytest

from pytest_unineuron.statistics.basis import column_kurtosis, rotated_kurtosis
from pytest_unineuron.statistics.resampling import against_draws


@pytest.mark.gt3(source="notebook")
def test_notebook_high_kurtosis_dimensions(weights, measure):
    """Some embedding dimensions have a kurtosis over the vocabulary above the 90th percentile of all of them."""
    kurtosis = column_kurtosis(weights.embedding)  # [dimension]
    measure("dimensions above their own 90th percentile", int(np.sum(kurtosis > np.percentile(kurtosis, 90))), above=0)


@pytest.mark.gt3(
    source="Elhage et al. 2023, privileged bases; catalogue GT3-V",
    # A shuffled matrix is left out: independent heavy-tailed entries are a privileged basis, made by hand.
    controls=["untrained", "reinitialised"],
)
def test_embedding_basis_is_privileged(weights, measure):
    """Embedding dimensions are heavier-tailed over the vocabulary than the same space in a random basis."""
    own = np.nanmean(column_kurtosis(weights.embedding))
    rotated = rotated_kurtosis(weights.embedding, draws=20)
    measure("mean kurtosis above that of rotated bases", against_draws(own, rotated), above=0.1, null=0.1)
