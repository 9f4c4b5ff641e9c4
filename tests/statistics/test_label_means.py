"""Laws of label means."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.label_means import LabelMeans
from tests.strategies import batches


@given(batches(), st.randoms(use_true_random=False))
def test_label_means_are_those_of_the_labelled_tokens(batch, random):
    """Tokens without a label are left out, and the mean of a label without tokens is nan."""
    labels = np.array([random.choice([-1, 0, 2]) for _ in batch])
    found = LabelMeans.of(torch.from_numpy(batch), torch.arange(len(batch)), torch.from_numpy(labels))
    for label in range(len(found.count)):
        chosen = batch[labels == label].astype(np.float64)
        if len(chosen):
            np.testing.assert_allclose(found.mean[label].numpy(), chosen.mean(axis=0), rtol=1e-9, atol=1e-9)
        else:
            assert torch.isnan(found.mean[label]).all()
