"""Tails of embedding dimensions, beside random bases and exchanged entries."""

import numpy as np
import torch
from scipy import stats

from pytest_unineuron.roles.embedding_basis import dimension_kurtosis, embedded, tail_deviations
from tests.roles.views import view_of


def test_the_deviation_is_that_of_scipy_and_the_nulls_are_others():
    """Each null is drawn anew, and is the same in every call."""
    view = view_of("gpt2")
    own, bases, exchanged = tail_deviations(view, 3)
    kurtosis = stats.kurtosis(view.embedding.double().numpy(), axis=0, fisher=False)
    np.testing.assert_allclose(own, np.std(np.log(kurtosis)), rtol=1e-9)
    assert len({own, *bases, *exchanged}) == 7
    assert tail_deviations(view, 3) == (own, bases, exchanged)


def test_rows_and_dimensions_are_those_of_the_embedding():
    view = view_of("gpt2")
    embedding = view.loaded.model.get_input_embeddings().weight.detach().double().numpy()[: view.loaded.vocabulary]
    np.testing.assert_array_equal(embedded(view, torch.tensor([5, 2, 5])).numpy(), embedding[[5, 2, 5]])
    expected = stats.kurtosis(embedding, axis=0, fisher=False)
    np.testing.assert_allclose(dimension_kurtosis(view).numpy(), expected, rtol=1e-9)
