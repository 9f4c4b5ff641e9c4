"""Constants by which a model multiplies what neurons write, or its logits: no role that depends on them is measured."""

import pytest
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.direct_effects import require_direct_logits, require_direct_writes
from pytest_unineuron.roles.mediation import frequency_mediation, scale_mediation
from pytest_unineuron.roles.path_ablation import added_attention
from tests.models.tiny import build, in_memory, prepared
from tests.roles.views import batches, view_of

WRITES, LOGITS = "do not add their write vectors as they are to the stream", "the logits of .* are not the product"


def mediation(view):
    return scale_mediation(view, batches(), torch.tensor([3]))


def by_frequency(view):
    return frequency_mediation(view, batches(), torch.tensor([3]), torch.ones(view.loaded.vocabulary))


def path(view):
    return added_attention(view, batches(), torch.tensor([[3, 5]]))


@pytest.mark.parametrize(
    ("architecture", "choices", "measure", "reason"),
    [
        ("granite", {"residual_multiplier": 0.22}, mediation, WRITES),
        ("granite", {"residual_multiplier": 0.22}, by_frequency, WRITES),
        ("granite", {"residual_multiplier": 0.22}, path, WRITES),
        ("granite", {"logits_scaling": 8.0}, mediation, LOGITS),
        ("granite", {"logits_scaling": 8.0}, by_frequency, LOGITS),
        ("cohere", {}, mediation, LOGITS),
    ],
)
def test_a_model_with_a_constant_factor_says_so(architecture, choices, measure, reason):
    """Effects would be wrong by that factor, whatever its name is."""
    with pytest.raises(NotApplicable, match=reason):
        measure(view_of(architecture, **choices))


@pytest.mark.parametrize(("architecture", "measure"), [("granite", mediation), ("granite", path), ("cohere", path)])
def test_what_a_constant_does_not_reach_is_measured(architecture, measure):
    """The default factors of Granite are 1; those of the logits do not reach attention."""
    assert measure(view_of(architecture)).groups > 1


def test_the_gain_of_a_norm_between_units_and_their_projection_is_no_part_of_what_one_unit_writes():
    """The write vectors have it, and the units that are changed are behind the norm: it would count twice."""
    view = WeightView(*prepared("causal", "bitnet"))
    assert view.anatomy.layout.layers[0].inner_norm
    with pytest.raises(NotApplicable, match=WRITES):
        path(view)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "bloom", "opt", "falcon"])
def test_models_without_constants_are_taken_as_they_are(architecture, dtype):
    """In half precision too, and where attention and neurons write side by side."""
    loaded, anatomy = prepared("causal", architecture)
    loaded.model.to(dtype)
    view = WeightView(loaded, anatomy)
    for number in range(len(anatomy.layout.layers)):
        require_direct_writes(view, batches()[0], number)
    require_direct_logits(view, batches()[0])


def test_a_factor_that_no_configuration_names_is_noticed():
    """Both are measured on the model itself."""
    loaded = in_memory(build("gpt2"))
    view = WeightView(loaded, dissect(loaded))
    loaded.model.transformer.h[1].mlp.register_forward_hook(lambda module, args, output: 0.8 * output)
    loaded.model.register_forward_hook(lambda module, args, output: (1.2 * output[0],))
    require_direct_writes(view, batches()[0], 0)
    with pytest.raises(NotApplicable, match=f"layer 1 {WRITES}"):
        require_direct_writes(view, batches()[0], 1)
    with pytest.raises(NotApplicable, match=LOGITS):
        require_direct_logits(view, batches()[0])
