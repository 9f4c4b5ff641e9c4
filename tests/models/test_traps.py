"""What a reviewer found that would have passed in silence: each is right now, or refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from pytest_unineuron.activations.capture import caught
from pytest_unineuron.errors import NeuronsNotFound, NotApplicable
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache, anatomy_key
from pytest_unineuron.models.discovery.layout import POOLED
from pytest_unineuron.models.discovery.matrix import module_matrix
from pytest_unineuron.models.discovery.verification import ROWS_ARE_TOKENS, verify
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import PRE
from pytest_unineuron.universality.units import DIMENSIONS, Member
from tests.models.tiny import build
from tools.architectures.examine import _Tokens
from tools.architectures.shrink import Entry, tiny


def loaded(model):
    return LoadedModel(model, _Tokens(), "", None)


class Adapted(nn.Module):
    """A linear with a low-rank adapter, as PEFT has it: scaled, after the base or before it."""

    def __init__(self, base, scale, first):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.base, self.scale, self.first = base, scale, first
        self.a, self.b = nn.Linear(base.in_features, 4, bias=False), nn.Linear(4, base.out_features, bias=False)
        for weight in (self.a.weight, self.b.weight):
            weight.data = torch.randn(weight.shape, generator=generator)

    def forward(self, x):
        if self.first:
            low = self.b(self.a(x))
            return self.base(x) + self.scale * low
        return self.base(x) + self.scale * self.b(self.a(x))


def adapted(scale, first=False):
    model = build("llama")
    for layer in model.model.layers:
        layer.mlp.gate_proj = Adapted(layer.mlp.gate_proj, scale, first)
    return model


@pytest.mark.parametrize(("scale", "first"), [(1.0, False), (2.0, False), (-1.0, False), (2.0, True)])
def test_the_pre_activation_has_the_adapter_in_it(scale, first):
    """Scaled as it is, whichever of the two runs first; the activation is named, so the identity holds."""
    model = loaded(adapted(scale, first))
    anatomy = dissect(model)
    assert {layer.activation for layer in anatomy.layout.layers} == {"silu"}
    verify(model.model, anatomy.layout, probe_ids(model, rows=2))
    got, ids = {}, probe_ids(model)
    read = []
    handle = model.model.model.layers[1].mlp.gate_proj.register_forward_hook(lambda m, a, y: read.append(y))
    with caught(model.model, anatomy.layout, lambda s, i, v, t: got.setdefault((s, i), v.clone())) as capture:
        capture.forward(ids, torch.ones_like(ids))
    handle.remove()
    torch.testing.assert_close(got[PRE, 1], read[0][0], rtol=1e-4, atol=1e-4)
    with pytest.raises(NotApplicable, match="adapters are added to what it reads"):
        _ = WeightView(model, anatomy).layers


def test_an_adapter_is_not_the_base_model(tmp_path):
    """One configuration, two sets of parameters: neither is taken for the other."""
    base, with_adapter = loaded(build("llama")), loaded(adapted(2.0))
    assert anatomy_key(base) != anatomy_key(with_adapter)
    cache = AnatomyCache(tmp_path)
    cache.get_or_dissect(with_adapter)
    assert cache.get_or_dissect(base)[1] is False


def test_rows_in_front_of_the_text_are_not_the_text():
    """CPM-Ant puts a prompt there: its layers are found, and not recorded."""
    layout = dissect(loaded(tiny(Entry("causal", "cpmant")))).layout
    assert {layer.row_kind for layer in layout.layers} == {POOLED}
    assert not layout.per_token.layers


class Turned(nn.Module):
    """Lays a batch out position by position before its MLP, which nothing but the order of rows betrays."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        rows, positions, width = x.shape
        return self.mlp(x.transpose(0, 1).reshape(-1, width)).view(positions, rows, width).transpose(0, 1)


@pytest.mark.parametrize("sink", [1.0, 1000.0])
def test_rows_in_another_order_are_noticed(sink):
    """Also where one token is a thousand times larger than all others."""
    model = build("gpt2")
    for block in model.transformer.h:
        block.mlp = Turned(block.mlp)
    with torch.no_grad():
        model.transformer.wpe.weight[0] *= sink
    found = loaded(model)
    with pytest.raises(NeuronsNotFound, match=ROWS_ARE_TOKENS):
        verify(model, dissect(found).layout, probe_ids(found, rows=2))


class Doubled(nn.Linear):
    """Multiplies by twice what it holds."""

    def forward(self, x):
        return functional.linear(x, 2 * self.weight, self.bias)


@pytest.mark.parametrize("width", [64, 768, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_matrix_is_read_as_it_acts(width, dtype):
    """Square ones stored either way, and one that is not what the module holds, in every precision."""
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(width)
    for module in (nn.Linear(width, width), Conv1D(width, width), Doubled(width, width)):
        nn.init.normal_(module.weight)
        module.to(dtype)
        found = module_matrix(module, width).weight.float()
        x = torch.randn(5, width).to(dtype)
        with torch.no_grad():
            true = (module(x) - module(torch.zeros_like(x))).float()
        torch.testing.assert_close(x.float() @ found.T, true, rtol=0, atol=0.05 * float(true.abs().max()))


class Shifted(nn.Module):
    """A linear whose bias has another name."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.offset = linear.weight, nn.Parameter(torch.ones(linear.out_features))

    def forward(self, x):
        return x @ self.weight.T + self.offset


def test_a_bias_may_have_any_name():
    """It is there if zeros do not give zeros."""
    model = build("llama")
    for layer in model.model.layers:
        layer.mlp.gate_proj = Shifted(layer.mlp.gate_proj)
    found = loaded(model)
    anatomy = dissect(found)
    verify(model, anatomy.layout, probe_ids(found, rows=2))
    assert all(bool((bias == 1).all()) for bias in WeightView(found, anatomy).raw_biases)


def test_stacks_may_have_different_widths():
    """An encoder of 32 and a decoder of 24: every weight in its own width, and the stream where it is read."""
    config = AutoConfig.for_model("t5gemma")
    sizes = {
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 203,
        "layer_types": None,
        "dropout_rate": 0.0,
    }
    kind = type(config.encoder)
    config.encoder = kind(hidden_size=32, intermediate_size=96, **sizes)
    config.decoder = kind(
        hidden_size=24, intermediate_size=80, cross_attention_hidden_size=32, is_decoder=True, **sizes
    )
    config.vocab_size = 203
    torch.manual_seed(0)
    found = loaded(AutoModelForSeq2SeqLM.from_config(config).eval())
    anatomy = dissect(found)
    assert [(layer.input_width, layer.width, layer.output_width) for layer in anatomy.layout.layers] == [
        (32, 96, 32)
    ] * 2 + [(24, 80, 24)] * 2
    view = WeightView(found, anatomy)
    assert [layer.write.shape for layer in view.layers] == [(96, 32)] * 2 + [(80, 24)] * 2
    assert Member(found.model, anatomy).sizes(DIMENSIONS) == [24]
    if anatomy.unembedding:
        assert view.unembedding.shape == (203, 24)


def test_a_plan_of_another_model_leaves_nothing_behind():
    """A sentence, and no hook."""
    model = loaded(build("llama"))
    layout = dissect(loaded(adapted(2.0))).layout
    with pytest.raises(NeuronsNotFound, match=r"LlamaForCausalLM has no .*: this is the layout of another model"):
        verify(model.model, layout, probe_ids(model, rows=2))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())


def test_what_was_in_training_mode_stays_there():
    """Module by module."""
    model = build("gpt2")
    model.transformer.h[0].train()
    dissect(loaded(model))
    assert [block.training for block in model.transformer.h] == [True, False]


class Cubed(nn.Module):
    """A gated MLP with an activation that has no name, and whose other factor runs first."""

    def __init__(self, mlp):
        super().__init__()
        self.up_proj, self.gate_proj, self.down_proj = mlp.up_proj, mlp.gate_proj, mlp.down_proj
        with torch.no_grad():
            self.gate_proj.weight[0] = 0  # the first unit is never on

    def forward(self, x):
        up = self.up_proj(x)
        return self.down_proj(up * self.gate_proj(x).tanh() ** 3)


def test_the_gate_is_the_factor_that_bends():
    """Without a name for the activation, whichever runs first, and though the first unit is dead."""
    model = build("llama")
    for layer in model.model.layers:
        layer.mlp = Cubed(layer.mlp)
    layers = dissect(loaded(model)).layout.layers
    assert {(layer.activation, layer.up[0].projection.module.rpartition(".")[2]) for layer in layers} == {
        ("", "gate_proj")
    }
