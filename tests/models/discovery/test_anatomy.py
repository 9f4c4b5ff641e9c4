"""The anatomy of a model: its heads and its unembedding, and models whose parts are unusual."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache, anatomy_key
from pytest_unineuron.models.discovery.layout import POOLED
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import PRE
from pytest_unineuron.universality.kinds import DIMENSIONS
from pytest_unineuron.universality.units import ComparedModel
from tests.models.tiny import build, in_memory, shrunk
from tools.architectures.examine import SizedTokenizer


def anatomy_of(architecture):
    return dissect(in_memory(build(architecture)))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
def test_every_head_has_query_rows_of_its_own(architecture):
    """There are two layers of four heads, and no row belongs to two heads."""
    heads = anatomy_of(architecture).heads
    assert [(head.layer, head.index) for head in heads] == [(layer, i) for layer in (0, 1) for i in range(4)]
    for layer in (0, 1):
        rows = [row for head in heads if head.layer == layer for row in head.query.rows]
        assert len(rows) == len(set(rows)) == 32


def test_heads_are_found_in_fused_projections():
    """GPT-2 stores all queries, then all keys and values; GPT-NeoX stores one head after the other."""
    gpt2, neox = anatomy_of("gpt2").heads[1], anatomy_of("gpt_neox").heads[1]
    assert (gpt2.query.rows[0], gpt2.key.rows[0]) == (8, 32 + 8)
    assert (neox.query.rows[0], neox.key.rows[0]) == (24, 32)


def test_grouped_heads_share_a_key():
    """With half as many keys as queries, two neighbouring heads read the same key."""
    heads = anatomy_of("llama").heads
    assert heads[0].key == heads[1].key != heads[2].key


def test_the_weights_of_a_head_are_rows_of_the_stored_tensors():
    """Query and key of a GPT-2 head are compared with its state dict."""
    model = in_memory(build("gpt2"))
    head = Weights(WeightView(model, dissect(model))).heads[5]
    stored = model.model.state_dict()["transformer.h.1.attn.c_attn.weight"].T
    query, key = head.raw()
    torch.testing.assert_close(query, stored[8:16], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(key, stored[40:48], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "unembedding", "norm"),
    [
        ("gpt2", "lm_head", "transformer.ln_f"),
        ("gpt_neox", "lm_head", "gpt_neox.final_layer_norm"),
        ("llama", "lm_head", "model.norm"),
        ("bert", "", ""),
    ],
)
def test_the_unembedding_and_the_final_norm_are_found(architecture, unembedding, norm):
    """A masked language model has no unembedding behind its last norm."""
    found = anatomy_of(architecture)
    assert (found.unembedding, found.final_norm) == (unembedding, norm)


def test_a_model_that_takes_no_tokens_is_an_error():
    """The error names the class."""

    class Picky(nn.Module):
        device = torch.device("cpu")

        def forward(self, pixels):
            return pixels

    with pytest.raises(ModelError, match="Picky does not run on token ids alone"):
        dissect(in_memory(Picky()))


class Adapted(nn.Module):
    """A linear layer with a scaled low-rank adapter, as PEFT has it, which runs after or before the layer."""

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
    return in_memory(model)


@pytest.mark.parametrize(("scale", "first"), [(1.0, False), (2.0, False), (-1.0, False), (2.0, True)])
def test_the_pre_activation_includes_an_adapter(scale, first):
    """The identities hold for any scale and order. Norms cannot be folded into the weights of an adapter."""
    model = adapted(scale, first)
    anatomy = dissect(model)
    assert {layer.activation for layer in anatomy.layout.layers} == {"silu"}
    verify(model.model, anatomy.layout, probe_ids(model, rows=2))
    got, ids = {}, probe_ids(model)
    read = []
    handle = model.model.model.layers[1].mlp.gate_proj.register_forward_hook(lambda m, a, y: read.append(y))
    with capture_activations(
        model.model, anatomy.layout, lambda s, i, v, t: got.setdefault((s, i), v.clone())
    ) as capture:
        capture.forward(ids, torch.ones_like(ids))
    handle.remove()
    torch.testing.assert_close(got[PRE, 1], read[0][0], rtol=1e-4, atol=1e-4)
    with pytest.raises(NotApplicable, match="adapters are added to what it reads"):
        _ = WeightView(model, anatomy).layers


def test_an_adapter_gives_a_model_an_anatomy_of_its_own(tmp_path):
    """A model with an adapter and its base model have one configuration but other parameters."""
    base, with_adapter = in_memory(build("llama")), adapted(2.0)
    assert anatomy_key(base) != anatomy_key(with_adapter)
    cache = AnatomyCache(tmp_path)
    cache.get_or_dissect(with_adapter)
    assert cache.get_or_dissect(base)[1] is False


def test_layers_with_rows_in_front_of_the_text_are_not_per_token():
    """CPM-Ant puts a prompt there: its layers are found, but their rows are not the tokens."""
    layout = dissect(shrunk("causal", "cpmant")).layout
    assert {layer.row_kind for layer in layout.layers} == {POOLED}
    assert not layout.per_token.layers


class Shifted(nn.Module):
    """A linear layer whose bias has another name."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.offset = linear.weight, nn.Parameter(torch.ones(linear.out_features))

    def forward(self, x):
        return x @ self.weight.T + self.offset


def test_a_bias_may_have_any_name():
    """It is found because the layer does not map zeros to zeros."""
    model = build("llama")
    for layer in model.model.layers:
        layer.mlp.gate_proj = Shifted(layer.mlp.gate_proj)
    found = in_memory(model)
    anatomy = dissect(found)
    verify(model, anatomy.layout, probe_ids(found, rows=2))
    assert all(bool((bias == 1).all()) for bias in WeightView(found, anatomy).raw_biases)


def test_stacks_may_have_different_widths():
    """Every weight of an encoder of 32 and a decoder of 24 features has the width of its own stack."""
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
    found = in_memory(AutoModelForSeq2SeqLM.from_config(config).eval(), SizedTokenizer())
    anatomy = dissect(found)
    widths = [(layer.input_width, layer.width, layer.output_width) for layer in anatomy.layout.layers]
    assert widths == [(32, 96, 32)] * 2 + [(24, 80, 24)] * 2
    view = WeightView(found, anatomy)
    assert [layer.write.shape for layer in view.layers] == [(96, 32)] * 2 + [(80, 24)] * 2
    assert ComparedModel(view).sizes(DIMENSIONS) == [24]
    if anatomy.unembedding:
        assert view.unembedding.shape == (203, 24)


def test_dissecting_keeps_the_training_mode_of_every_module():
    """Modules in training mode stay in it, and others in evaluation mode."""
    model = build("gpt2")
    model.transformer.h[0].train()
    dissect(in_memory(model))
    assert [block.training for block in model.transformer.h] == [True, False]


class Cubed(nn.Module):
    """A gated MLP whose activation function has no name, and whose other factor runs first."""

    def __init__(self, mlp):
        super().__init__()
        self.up_proj, self.gate_proj, self.down_proj = mlp.up_proj, mlp.gate_proj, mlp.down_proj
        with torch.no_grad():
            self.gate_proj.weight[0] = 0  # the first unit is never on

    def forward(self, x):
        up = self.up_proj(x)
        return self.down_proj(up * self.gate_proj(x).tanh() ** 3)


def test_the_gate_is_the_factor_with_a_second_derivative():
    """This tells the gate if the activation function has no name, also if the other factor runs first."""
    model = build("llama")
    for layer in model.model.layers:
        layer.mlp = Cubed(layer.mlp)
    layers = dissect(in_memory(model)).layout.layers
    found = {(layer.activation, layer.up[0].projection.module.rpartition(".")[2]) for layer in layers}
    assert found == {("", "gate_proj")}


def test_heads_of_which_a_feature_is_always_clipped_are_not_known():
    """As by ``clip_qkv`` of OLMo: the others would be paired with the wrong features."""
    model = build("olmo", clip_qkv=8.0)
    assert len(dissect(in_memory(model)).heads) == 8
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 30.0
        model.model.layers[1].self_attn.k_proj.weight[5, 0] = 400.0
    assert dissect(in_memory(model)).heads == ()
