"""Tails of embedding dimensions, beside random bases and exchanged entries."""

import numpy as np
from scipy import stats

from pytest_unineuron.roles.embedding_basis import tail_deviations
from tests.roles.views import view_of


def test_the_deviation_is_that_of_scipy_and_the_nulls_are_others():
    """Each null is drawn anew, and is the same in every call."""
    view = view_of("gpt2")
    own, bases, exchanged = tail_deviations(view, 3)
    kurtosis = stats.kurtosis(view.embedding.double().numpy(), axis=0, fisher=False)
    np.testing.assert_allclose(own, np.std(np.log(kurtosis)), rtol=1e-9)
    assert len({own, *bases, *exchanged}) == 7
    assert tail_deviations(view, 3) == (own, bases, exchanged)
