"""Checkpoints as people have them: of any architecture, in pieces, in any precision, quantised, damaged."""

import json
import shutil
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
import transformers
from huggingface_hub import errors as hub_errors
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from pytest_unineuron.controls.reinitialised import reinitialised
from pytest_unineuron.controls.shuffled import shuffled
from pytest_unineuron.controls.untrained import untrained
from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery import verification
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.loading import devices, fetch
from pytest_unineuron.models.loading import load as loading
from pytest_unineuron.models.loading.context import UNLIMITED
from pytest_unineuron.models.loading.forward import run_model
from pytest_unineuron.models.loading.load import LoadedModel, load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.loading.weight_files import weights_digest
from tests.models.tiny import build, tokenizer
from tools.architectures.shrink import Entry
from tools.architectures.shrink import tiny as tiny_of

DOWN = "model.layers.0.mlp.down_proj.weight"


def letters(tokens=200):
    """A tokenizer of bytes that fits a vocabulary of 203; it has no limit of its own."""
    known = [*sorted(ByteLevel.alphabet())[: tokens - 1], "<unk>"]
    made = Tokenizer(WordLevel({token: number for number, token in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a tiny random model of an architecture, and the model."""
    made = {}

    def folder(mapping, architecture):
        if architecture not in made:
            path = tmp_path_factory.mktemp(architecture)
            model = tiny_of(Entry(mapping, architecture))
            model.save_pretrained(path)
            letters().save_pretrained(path)
            made[architecture] = path, model
        return made[architecture]

    return folder


@pytest.fixture
def llama(tiny, tmp_path):
    """A copy of a tiny llama that a test may change."""
    return shutil.copytree(tiny("llama"), tmp_path / "llama")


@pytest.fixture
def pieces(tmp_path):
    """A tiny llama in several files."""
    build("llama").save_pretrained(tmp_path / "pieces", max_shard_size="20KB")
    tokenizer().save_pretrained(tmp_path / "pieces")
    return tmp_path / "pieces"


def opened(folder, **choices):
    return load_model(parse_source(str(folder)), **choices)


def rewritten(path, **changes):
    """Change entries of a JSON file; None takes them out."""
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}), encoding="utf-8")


def restored(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("mapping", "architecture"),
    [
        ("masked", "roberta"),
        ("masked", "deberta"),
        ("masked", "perceiver"),
        ("causal", "opt"),
        ("causal", "mpt"),
        ("causal", "mixtral"),
        ("causal", "gpt_oss"),
        ("causal", "gemma3_text"),
        ("seq2seq", "t5"),
        ("seq2seq", "bart"),
        ("seq2seq", "encoder-decoder"),
        ("image-text", "llava"),
    ],
)
def test_what_was_saved_is_what_is_loaded(saved, mapping, architecture):
    """The same class and weights, in which neurons are found and confirmed."""
    folder, model = saved(mapping, architecture)
    found = opened(folder)
    assert type(found.model) is type(model)
    before, after = dict(model.named_parameters()), dict(found.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    verification.verify(found.model, dissect(found).layout, probe_ids(found, rows=2))


@pytest.mark.parametrize(
    ("mapping", "architecture", "context", "hard"),
    [
        ("causal", "gpt2", 64, True),
        ("causal", "opt", 64, True),
        ("causal", "whisper", 64, True),
        ("masked", "bert", 64, True),
        ("masked", "roberta", 62, True),
        ("masked", "esm", 62, True),
        ("masked", "ibert", 62, True),
        ("seq2seq", "bart", 64, True),
        ("seq2seq", "led", 64, True),
        ("seq2seq", "prophetnet", 62, True),
        ("causal", "mpt", 64, True),
        ("causal", "llama", 64, False),
    ],
)
def test_the_longest_input_runs_and_one_token_more_does_not(saved, mapping, architecture, context, hard):
    """Where positions are a table: some begin after that of the padding, so that it has room for fewer."""
    found = opened(saved(mapping, architecture)[0])
    assert found.context == context
    ids = torch.randint(10, 170, (1, context + 1))
    run_model(found.model, ids[:, :context], torch.ones_like(ids[:, :context]))
    if hard:
        with pytest.raises((IndexError, RuntimeError)):
            run_model(found.model, ids, torch.ones_like(ids))


@pytest.mark.parametrize("architecture", ["t5", "bloom", "mamba"])
def test_models_without_positions_take_any_length(saved, architecture):
    """Biases by distance, and states."""
    folder, _ = saved("seq2seq" if architecture == "t5" else "causal", architecture)
    found = opened(folder)
    assert found.context == UNLIMITED
    ids = torch.randint(10, 170, (1, 600))
    run_model(found.model, ids, torch.ones_like(ids))


def test_an_encoder_and_a_decoder_read_what_both_can(tmp_path):
    """The same text is given to both."""
    sizes = {
        "vocab_size": 203,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 40,
    }
    encoder = transformers.BertConfig(**sizes, max_position_embeddings=64)
    decoder = transformers.BertConfig(**sizes, max_position_embeddings=48)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    transformers.EncoderDecoderModel(config).save_pretrained(tmp_path)
    letters().save_pretrained(tmp_path)
    assert opened(tmp_path).context == 48


# -- in pieces ---------------------------------------------------------------------------------------------


def test_a_model_in_pieces_is_one_model(pieces):
    """Its digest is that of all of them, and of nothing that lies beside them."""
    files = sorted(pieces.glob("*.safetensors"))
    found = opened(pieces)
    assert len(files) > 3
    assert found.weights_digest == weights_digest(files) != weights_digest(files[1:])
    state = build("llama").state_dict()
    assert all(torch.equal(state[name], value) for name, value in found.model.state_dict().items())
    shutil.copy(files[0], pieces / "consolidated.safetensors")
    assert opened(pieces).weights_digest == found.weights_digest


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda f: next(f.glob("*00002*")).unlink(),
            r"1 of the 6 weight files that .*index.json names are not there "
            r"\(model-00002-of-00006.safetensors\); fetch it again",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").unlink(),
            r"there is neither model.safetensors nor .* are its "
            "weights; fetch it again",
        ),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "does not say which file holds which"),
        (lambda f: (f / "model.safetensors.index.json").write_text("?"), "does not say which file holds which"),
        (
            lambda f: next(f.glob("*00002*")).write_bytes(next(f.glob("*00002*")).read_bytes()[:-9]),
            r"weights cannot be loaded: model-00002-of-00006.safetensors is damaged or incomplete \(.*fetch it again",
        ),
    ],
)
def test_a_piece_that_is_missing_or_damaged_is_named(pieces, damage, words):
    """Before anything is loaded."""
    damage(pieces)
    with pytest.raises(ModelError, match=words):
        opened(pieces)


# -- precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_are_read_in_the_precision_that_is_asked_for(tmp_path, stored):
    """Whatever they are stored in; what is not stored is computed as ever."""
    model = build("llama").to(stored)
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        found = opened(tmp_path, dtype=str(dtype).removeprefix("torch."))
        assert {p.dtype for p in found.model.parameters()} == {dtype}
        assert torch.equal(found.model.get_parameter(DOWN), model.get_parameter(DOWN).to(dtype))
        assert found.model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_nothing_is_read_in_another_precision_on_the_way(llama, monkeypatch):
    """The loader is asked for the precision itself, so that memory holds the weights once."""
    asked = []
    real = transformers.LlamaForCausalLM.from_pretrained.__func__
    monkeypatch.setattr(
        transformers.LlamaForCausalLM,
        "from_pretrained",
        classmethod(lambda kind, *args, **kwargs: asked.append(kwargs["dtype"]) or real(kind, *args, **kwargs)),
    )
    opened(llama, dtype="bfloat16")
    assert asked == [torch.bfloat16]


def test_another_device_is_loaded_onto_directly(llama, monkeypatch):
    """Given accelerate; else by way of the memory of the machine."""
    asked = []
    real = transformers.LlamaForCausalLM.from_pretrained.__func__
    monkeypatch.setattr(
        transformers.LlamaForCausalLM,
        "from_pretrained",
        classmethod(
            lambda kind, *args, **kwargs: asked.append(kwargs.get("device_map")) or real(kind, *args, **kwargs)
        ),
    )
    opened(llama)
    if find_spec("accelerate") is not None:
        assert opened(llama, device="cpu:0").model.device.type == "cpu"
        assert asked == [None, "cpu:0"]
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    opened(llama, device="cpu:0")
    assert asked[-1] is None


def test_a_model_that_is_changed_while_it_is_loaded_is_an_error(llama, monkeypatch):
    """Nothing may be kept under the digest of files that it was not made from."""
    real = loading.load_tokenizer

    def changing(*given):
        config = llama / "config.json"
        config.write_text(config.read_text().replace("{", '{"note": "changed",', 1))
        return real(*given)

    before = load_model(parse_source(str(llama))).files_digest
    monkeypatch.setattr(loading, "load_tokenizer", changing)
    with pytest.raises(ModelError, match="its files were changed while it was loaded; run this again"):
        load_model(parse_source(str(llama)))
    monkeypatch.undo()
    assert load_model(parse_source(str(llama))).files_digest != before


@pytest.mark.parametrize("device", devices.SPREAD_MODES)
def test_a_model_is_spread_over_what_there_is(llama, device):
    """Here there is a CPU: loaded or never trained, it is what it is without accelerate."""
    pytest.importorskip("accelerate")
    for spec in (f"{llama}", f"untrained:{llama}"):
        plain, spread = (load_model(parse_source(spec), device=where) for where in ("cpu", device))
        assert {p.device.type for p in spread.model.parameters()} == {"cpu"}
        for name, weight in plain.model.named_parameters():
            assert torch.equal(weight, spread.model.get_parameter(name))


def test_controls_of_a_model_that_is_spread_lie_where_it_does(llama):
    """Every part of a twin is watched by its own hooks, and reads what it should."""
    accelerate = pytest.importorskip("accelerate")
    plain = opened(llama)
    ids = probe_ids(plain, rows=2)
    there = torch.ones_like(ids)
    names = [name for name, _ in plain.model.model.named_children()]
    for control in (untrained, shuffled, reinitialised):
        expected = run_model(control(plain.model, 1), ids, there)[0]
        spread = opened(llama).model
        accelerate.dispatch_model(spread, {"lm_head": "cpu", **{f"model.{n}": "cpu" for n in names}}, force_hooks=True)
        twin = control(spread, 1)
        assert torch.equal(run_model(twin, ids, there)[0], expected)
        layout = dissect(LoadedModel(twin, plain.tokenizer, "", plain.folder)).layout
        verification.verify(twin, layout, ids)
        owners = {id(part) for part in twin.modules()}
        hooked = [part for part in twin.modules() if hasattr(part, "_hf_hook")]
        assert bool(hooked) == (control is not untrained)  # which has nowhere to be but on the one device
        assert all(id(part.forward.args[0]) in owners for part in hooked)


def test_an_untrained_model_is_the_same_in_every_precision(llama):
    """Drawn in float32 and rounded."""
    wide, narrow = (load_model(parse_source(f"untrained:{llama}"), dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert torch.equal(wide.model.get_parameter(DOWN).bfloat16(), narrow.model.get_parameter(DOWN))
    assert narrow.model.model.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize("architecture", ["t5", "deberta", "mixtral"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_neurons_are_found_in_every_precision(saved, architecture, dtype):
    """Of models that keep some weights in float32, forget to convert some, or choose kernels by precision."""
    mapping = {"t5": "seq2seq", "deberta": "masked", "mixtral": "causal"}[architecture]
    found = opened(saved(mapping, architecture)[0], dtype=dtype)
    kept = {name for name, p in found.model.named_parameters() if p.dtype != getattr(torch, dtype)}
    assert all(".wo." in name for name in kept)
    assert bool(kept) == (architecture == "t5" and dtype == "float16")
    verification.verify(found.model, dissect(found).layout, probe_ids(found, rows=2))
    fresh = load_model(parse_source(f"untrained:{found.folder}"), dtype=dtype)
    assert {name for name, p in fresh.model.named_parameters() if p.dtype != getattr(torch, dtype)} == kept
    ids = probe_ids(fresh)
    run_model(fresh.model, ids, torch.ones_like(ids))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_one_value_that_is_not_finite_is_noticed(llama, value, dtype, monkeypatch):
    """In any precision, wherever it stands, without a copy of the tensor."""
    monkeypatch.setattr(loading, "FINITE_CHUNK", 7)
    restored(llama, lambda state: state[DOWN].__setitem__((-1, -1), value))
    with pytest.raises(ModelError, match=rf"{DOWN} has values that are not finite; the weights are damaged"):
        opened(llama, dtype=dtype)


def test_values_too_large_for_half_precision_are_not_called_damage_alone(llama):
    """They would be infinite; bfloat16 has room."""
    restored(llama, lambda state: state[DOWN].__setitem__((0, 0), 1e6))
    with pytest.raises(ModelError, match="damaged, or too large for float16: try --unineuron-dtype=bfloat16"):
        opened(llama, dtype="float16")
    opened(llama, dtype="bfloat16")


@pytest.mark.parametrize(
    ("stored", "name"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8"), (torch.int32, "I32")]
)
def test_numbers_that_need_a_scale_are_not_taken_at_face_value(llama, stored, name):
    """The loader would convert them in silence."""
    restored(llama, lambda state: state.update({DOWN: state[DOWN].mul(9).to(stored)}))
    with pytest.raises(ModelError, match=rf"{DOWN} is stored as {name}, and its config.json does not say how to read"):
        opened(llama)


# -- quantised ---------------------------------------------------------------------------------------------


def test_blocks_of_eight_bit_floats_are_turned_into_plain_weights(llama):
    """transformers can do that by itself, given accelerate."""
    pytest.importorskip("accelerate")
    plain = load_file(llama / "model.safetensors")
    linear = [name for name in plain if name.endswith("_proj.weight")]

    def change(state):
        for name in linear:
            scale = state[name].abs().max() / 448
            state[name] = (state[name] / scale).to(torch.float8_e4m3fn)
            state[name.replace(".weight", ".weight_scale_inv")] = scale.reshape(1, 1)

    restored(llama, change)
    rewritten(
        llama / "config.json",
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
    )
    found = opened(llama)
    for name in linear:
        weight = found.model.get_parameter(name)
        assert weight.dtype == torch.float32
        assert torch.allclose(weight, plain[name], atol=0.07 * float(plain[name].abs().max()))
        assert not torch.equal(weight, plain[name])
    verification.verify(found.model, dissect(found).layout, probe_ids(found, rows=2))


def test_blocks_of_four_bit_floats_are_turned_into_plain_weights(saved, tmp_path):
    """Experts as gpt-oss has them: two values a byte, an exponent for every 32."""
    pytest.importorskip("accelerate")
    folder = shutil.copytree(saved("causal", "gpt_oss")[0], tmp_path / "packed")
    names = {f"model.layers.{layer}.mlp.experts.{part}_proj" for layer in (0, 1) for part in ("gate_up", "down")}

    def change(state):
        for name in names:
            experts, inputs, outputs = state.pop(name).shape
            shape = (experts, outputs, inputs // 32)
            state[f"{name}_blocks"] = torch.full((*shape, 16), 0x2A, dtype=torch.uint8)  # the codes of -1 and 1
            state[f"{name}_scales"] = torch.full(shape, 124, dtype=torch.uint8)  # 2 ** (124 - 127)

    restored(folder, change)
    rewritten(folder / "config.json", quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": []})
    found = opened(folder)
    for name in names:
        weight = found.model.get_parameter(name)
        assert weight.dtype == torch.float32
        assert weight.unique().tolist() == [-0.125, 0.125]


@pytest.mark.parametrize(
    ("method", "module", "library"),
    [
        ("bitsandbytes", "bitsandbytes", "pip install (-U bitsandbytes|'accelerate)"),
        ("gptq", "gptqmodel", "pip install (optimum|gptqmodel)"),
        ("awq", "gptqmodel", "pip install gptqmodel"),
        ("quanto", "optimum", "pip install optimum-quanto"),
        ("torchao", "torchao", "torchao"),
        ("compressed-tensors", "compressed_tensors", "pip install compressed-tensors"),
        ("hqq", "hqq", "HQQ"),
    ],
)
def test_a_quantised_model_says_what_it_takes(llama, method, module, library):
    """Where the library for it is not installed."""
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    asked = {"quant_method": method, "bits": 4, "group_size": 128}
    asked |= {"load_in_4bit": True} if method == "bitsandbytes" else {}
    asked = {"quant_method": "torchao", "quant_type": "int8wo"} if method == "torchao" else asked
    rewritten(llama / "config.json", quantization_config=asked)
    words = rf"it is quantised \({method}.*\) and cannot be loaded here: .*{library}.*or a model that is not quantised"
    with pytest.raises(ModelError, match=words):
        opened(llama)
    assert load_model(parse_source(f"untrained:{llama}")).model.dtype == torch.float32  # nobody quantised that


@pytest.mark.parametrize("asked", [{"quant_method": "marlin"}, {"bits": 4}])
def test_an_unknown_way_of_quantising_is_not_passed_over(llama, asked):
    """The library would warn and load integers as if they were weights."""
    rewritten(llama / "config.json", quantization_config=asked)
    with pytest.raises(
        ModelError, match=r"quantised in a way that transformers .* does not know \((marlin|no quant_method)"
    ):
        opened(llama)


# -- which model it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architectures", [None, [], "LlamaForCausalLM", ["NobodysLlama"], ["LlamaConfig"]])
def test_a_model_that_does_not_say_its_class_is_told_by_its_weights(llama, architectures):
    """A class with a head if the files have one."""
    rewritten(llama / "config.json", architectures=architectures)
    assert type(opened(llama).model) is transformers.LlamaForCausalLM
    if architectures != "LlamaForCausalLM":
        restored(llama, lambda state: state.pop("lm_head.weight"))
        assert type(opened(llama).model) is transformers.LlamaModel


@pytest.mark.parametrize(("mapping", "architecture"), [("masked", "bert"), ("seq2seq", "t5"), ("image-text", "llava")])
def test_the_class_fits_the_kind_of_model(saved, tmp_path, mapping, architecture):
    """Without a word about it in config.json."""
    folder, model = saved(mapping, architecture)
    copy = shutil.copytree(folder, tmp_path / "copy")
    rewritten(copy / "config.json", architectures=None)
    assert type(opened(copy).model) is type(model)


def test_tied_weights_are_stored_once_and_not_missed(tmp_path):
    """The unembedding is the embedding."""
    build("llama", tie_word_embeddings=True).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = opened(tmp_path).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_pooler_is_not_missed_and_a_head_is(tiny, tmp_path):
    """No measurement reads what stands behind the last layer of an encoder."""
    bare = transformers.BertModel(build("bert").config)
    bare.save_pretrained(tmp_path / "bare")
    tokenizer().save_pretrained(tmp_path / "bare")
    restored(tmp_path / "bare", lambda state: [state.pop(name) for name in list(state) if "pooler" in name])
    opened(tmp_path / "bare")
    rewritten(tmp_path / "bare" / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(ModelError, match=r"the weight files lack \d tensors \(cls\..*missing weights would be random"):
        opened(tmp_path / "bare")


def test_shapes_that_differ_are_named(llama):
    """A configuration of another size."""
    rewritten(llama / "config.json", intermediate_size=56)
    with pytest.raises(ModelError, match=r"6 tensors .* another shape .*: \(32, 48\), not \(32, 56\)\); fetch both"):
        opened(llama)


def test_code_of_its_own_is_never_run(llama, tmp_path):
    """A class of transformers is used where it is one; else it is said why not."""
    for name in ("modeling_mine.py", "tokenization_mine.py"):
        (llama / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = llama / "config.json"
    rewritten(config, auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    opened(llama)
    own = r"is not part of transformers .* own code \(auto_map\) is never run; name a revision or a conversion"
    rewritten(config, architectures=["Mine"])
    with pytest.raises(ModelError, match=f"Mine {own}"):
        opened(llama)
    rewritten(config, model_type="mine", auto_map={"AutoConfig": "modeling_mine.Mine"})
    with pytest.raises(ModelError, match=f"model_type 'mine' {own}"):
        opened(llama)
    rewritten(config, model_type="llama", architectures=["LlamaForCausalLM"], auto_map=None)
    rewritten(
        llama / "tokenizer_config.json",
        tokenizer_class="Mine",
        auto_map={"AutoTokenizer": ["tokenization_mine.Mine", None]},
    )
    with pytest.raises(ModelError, match=f"its tokenizer {own}"):
        opened(llama)
    assert not (tmp_path / "ran").exists()


def test_a_model_that_reads_no_text(tmp_path):
    """Said before its weights are looked at."""
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="ViTForImageClassification reads no text; name a language model"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "its config.json is not valid JSON"),
        ("[1]", "its config.json is not a JSON object; save it with save_pretrained"),
        ("{}", "its configuration cannot be used: .*Should have a `model_type` key"),
        ('{"model_type": ["llama"]}', "its configuration cannot be used"),
        ('{"model_type": "llama", "hidden_size": "big"}', "'hidden_size': .* expected int, got str"),
        ('{"model_type": "llama", "architectures": ["GPT2LMHeadModel"]}', "GPT2LMHeadModel .* no class for .*'llama'"),
    ],
)
def test_a_configuration_that_is_nonsense(llama, text, words):
    """Whatever is wrong with it, one sentence."""
    (llama / "config.json").write_text(text)
    with pytest.raises(ModelError, match=words):
        opened(llama)


def test_names_with_spaces_and_letters_of_all_kinds(llama, tmp_path):
    """A path is a path."""
    folder = shutil.copytree(llama, tmp_path / "ein Modell – 模型 ü")
    assert opened(folder).folder == folder


def test_folders_that_hold_something_else(llama, tmp_path):
    """An adapter, weights for another program, a tokenizer; or a file."""
    with pytest.raises(ModelError, match="this is a file; give the folder that it is in"):
        opened(llama / "model.safetensors")
    (llama / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    if find_spec("peft") is None:
        with pytest.raises(ModelError, match=r"its folder also holds an adapter .*pip install peft, or remove"):
            opened(llama)
    (llama / "config.json").unlink()
    with pytest.raises(ModelError, match=r"this is only an adapter \(adapter_config.json\) for org/base; merge it"):
        opened(llama)
    (llama / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match=r"the folder has no config.json; save the model with save_pretrained"):
        opened(llama)
    (llama / "model.Q4_K.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"packed for another program \(model.Q4_K.gguf\) and there is no config.json"):
        opened(llama)
    build("llama").config.save_pretrained(llama)
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"packed for another program \(model.Q4_K.gguf\); name the model that they"):
        opened(llama)


# -- the hub -----------------------------------------------------------------------------------------------

ANSWER = SimpleNamespace(headers={}, request=None, status_code=401)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (hub_errors.GatedRepoError("no", response=ANSWER), "access to it is gated; .* log in with `hf auth login`"),
        (hub_errors.RepositoryNotFoundError("no", response=ANSWER), "no such model, or it is private; .*hf auth login"),
        (hub_errors.RevisionNotFoundError("no", response=ANSWER), "the hub has no revision 'v9' of it"),
        (hub_errors.HfHubHTTPError("500 at the hub\nmore", response=ANSWER), "could not deliver it: 500 at the hub; "),
        (hub_errors.LocalEntryNotFoundError("no"), r"not in the local cache and the hub cannot be reached \(offline\)"),
        (hub_errors.OfflineModeIsEnabled("no"), r"not in the local cache and the hub cannot be reached \(offline\)"),
        (hub_errors.HFValidationError("bad name"), "could not deliver it: bad name"),
        (OSError("disk full"), "could not deliver it: disk full; try again, or give a folder"),
        (RuntimeError("no route"), "could not deliver it: no route; try again, or give a folder"),
    ],
)
def test_what_the_hub_says_is_said_in_one_sentence(monkeypatch, error, words):
    """And what to do about it; the revision that was asked for is passed on."""

    def refuse(name, *, revision, **_):
        assert (name, revision) == ("org/model", "v9")
        raise error

    monkeypatch.setattr(fetch, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=f"^model org/model@v9: .*{words}"):
        load_model(parse_source("org/model@v9"))


def test_a_model_that_is_partly_cached_is_used_as_far_as_it_goes(monkeypatch, pieces):
    """Files nobody needs may be missing; one that is needed is named."""

    def partly(*_, **__):
        error = hub_errors.LocalEntryNotFoundError("incomplete")
        error.snapshot_path = str(pieces)
        raise error

    monkeypatch.setattr(fetch, "snapshot_download", partly)
    assert load_model(parse_source("org/model")).weights_digest
    next(pieces.glob("*00003*")).unlink()
    with pytest.raises(ModelError, match=r"not there \(model-00003-of-00006.safetensors\)"):
        load_model(parse_source("org/model"))


def test_a_repository_that_is_no_model(monkeypatch, tmp_path):
    """As a folder that is none."""
    monkeypatch.setattr(fetch, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match=r"model org/model: the folder has no config\.json"):
        load_model(parse_source("org/model"))


def test_only_what_is_needed_is_fetched():
    """Weights once, and nothing that can run."""
    from huggingface_hub.utils import filter_repo_objects

    files = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "tokenizer.json",
        "merges.txt",
        "spm.model",
        "source.spm",
        "chat_template.jinja",
        "modeling_x.py",
        "pytorch_model.bin",
        "m.gguf",
        "consolidated.safetensors",
        "original/model.safetensors",
        "onnx/config.json",
    ]
    kept = filter_repo_objects(files, allow_patterns=fetch.MODEL_FILES, ignore_patterns=fetch.IGNORED_FILES)
    assert list(kept) == files[:7]
