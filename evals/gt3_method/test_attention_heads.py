"""GT3: do weight statistics of attention heads say anything?"""

import numpy as np
import pytest

from pytest_unineuron import LARGE, MEDIUM, by_unit
from pytest_unineuron.roles.head_circuits import circuit_ranks, query_key_norms
from pytest_unineuron.roles.head_writes import copying, head_kurtosis


@pytest.mark.gt3(source="public run eval1_new GT3-1 (reconstructed, code not public)")
def test_notebook_head_weight_norms(weights, measure):
    """The norms of the heads' query and key weights vary.

    The run printed deviations of 8.2664 and 7.2397 over 384 heads and no rule. It may have cut the fused projection
    into thirds; these are the rows of each head. The version that can fail is head_circuits_are_concentrated.
    """
    query, key = np.std(weights.role(query_key_norms), axis=0)
    measure("deviation of query norms over heads", query, above=0.0)
    measure("deviation of key norms over heads", key, above=0.0)


@pytest.mark.gt3(source="Elhage et al. 2021, QK circuits; catalogue GT3-A1")
def test_head_circuits_are_concentrated(weights, measure):
    """What a trained head compares lies in fewer directions of its query-key circuit than in any null.

    It decides no criterion: models trained on tokens in random order show it as clearly, so it tells of training and
    not of language.
    """
    measure.needs("heads", len(weights.heads), at_least=8)
    concentrated = by_unit(lambda w: w.role(circuit_ranks), weights, layer=lambda w: w.head_layer)
    measure("stable rank of W_QK over head dimension", concentrated, lower_by=LARGE)


@pytest.mark.gt3(source="Gurnee et al. 2024, section 5.1, for heads; catalogue GT3-V1")
def test_heads_single_out_tokens(weights, measure):
    """What heads write is directed at fewer tokens than random directions are, more than in any null."""
    measure.needs("heads", len(weights.heads), at_least=8)
    beyond = by_unit(lambda w: w.role(head_kurtosis)[1], weights, layer=lambda w: w.head_layer)
    measure("share of random directions of smaller kurtosis over the vocabulary", beyond, higher_by=MEDIUM)
    measure("median kurtosis over the vocabulary", np.median(weights.role(head_kurtosis)[0]))
    copied = weights.role(copying)
    if not np.isnan(copied).any():  # heads read what they write into
        measure("median tr(W_OV) / ‖W_OV‖", np.median(copied))
