"""GT3: do weight statistics of attention heads say anything?"""

import numpy as np
import pytest

from pytest_unineuron.statistics.heads import circuit_rank
from pytest_unineuron.statistics.resampling import over_units


@pytest.mark.gt3(source="notebook")
def test_notebook_head_weight_norms(weights, measure):
    """The norms of the heads' query and key weights vary."""
    norms = [[float(weight.norm()) for weight in head.raw()] for head in weights.heads]  # [head, query and key]
    query, key = np.std(norms, axis=0)
    measure("deviation of query norms over heads", query, above=0.0)
    measure("deviation of key norms over heads", key, above=0.0)


@pytest.mark.gt3(source="Elhage et al. 2021, QK circuits; catalogue GT3-A1")
def test_head_circuits_are_concentrated(weights, measure):
    """What a trained head compares lies in few directions of its query-key circuit, whatever the basis."""
    measure.needs("heads", len(weights.heads), at_least=32)
    ranks = np.array([circuit_rank(*head.folded()) for head in weights.heads])  # [head]
    measure("stable rank of W_QK over head dimension, mean", over_units(np.mean, ranks), below=0.25, null=0.30)
