"""Layers that are copied from those like them: experts that no token reached."""

import pytest

from tests.models.tiny import prepared


@pytest.mark.parametrize("model_type", ["olmoe", "mixtral"])
def test_all_experts_of_a_block_are_read_by_the_same_norms(model_type):
    """Those of its own block or the last one, whichever block the template is of."""
    _, anatomy = prepared("causal", model_type)
    layers = anatomy.layout.layers
    assert len({layer.number for layer in layers}) > 1
    assert len({(layer.number, layer.reading_norms) for layer in layers}) == len({layer.number for layer in layers})
    assert layers[-1].reading_norms == ("model.norm",)


def test_a_layer_that_was_not_recognised_is_read_by_the_norm_of_its_own_block():
    """As sparse layers of Gemma 3n, in which most units are off."""
    _, anatomy = prepared("causal", "gemma3n_text")
    for layer in anatomy.layout.layers:
        assert layer.reading_norms == (f"model.layers.{layer.number}.post_feedforward_layernorm",)
