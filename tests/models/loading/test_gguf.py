"""Models in a GGUF file, which need the packages of the extra. SmolLM2 itself is read by the tests of real models."""

import json
from importlib import import_module, util
from importlib.util import find_spec

import pytest
import torch

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading import gguf
from pytest_unineuron.models.loading.configuration import load_configuration
from pytest_unineuron.models.loading.files_digest import files_digest
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from tests.models.tiny import build, tokenizer

QUANTISED = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture
def junk(tmp_path):
    """A file that is not what its name says."""
    path = tmp_path / "junk.Q4_1.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    return path


@pytest.fixture
def extra():
    """Skip without the packages that read the format."""
    if missing := [name for name in gguf.PACKAGES if find_spec(name) is None]:
        pytest.skip(f'{" and ".join(missing)} not installed: pip install "pytest-unineuron[gguf]"')


def test_a_file_or_a_folder_with_one_is_a_model(junk):
    """The label is the name of the file without its ending, or that of the folder."""
    file, folder = parse_source(str(junk)), parse_source(str(junk.parent))
    assert (file.label, file.folder, file.gguf) == ("junk.Q4_1", junk.parent, junk.name)
    assert (folder.label, folder.folder, folder.gguf) == (junk.parent.name, junk.parent, junk.name)
    assert parse_source(f"untrained:{junk}").gguf == junk.name


def test_a_folder_with_several_files_is_refused(junk):
    """They may be one model in several precisions, and the user has to choose."""
    (junk.parent / "junk.Q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds 2 models \(junk.Q4_1.gguf, junk.Q8_0.gguf\); give one file"):
        parse_source(str(junk.parent))


def test_the_ending_may_have_capitals_and_hidden_files_are_no_models(junk):
    """macOS writes hidden files of the same ending beside files on other disks."""
    capitals = junk.rename(junk.with_suffix(".GGUF"))
    (junk.parent / f"._{junk.name}").write_bytes(b"0")
    assert parse_source(str(capitals)).gguf == parse_source(str(junk.parent)).gguf == capitals.name


def test_a_part_of_a_model_is_refused_with_the_command_that_joins_it(junk):
    """Given as a file, or found in the folder that was given."""
    part = junk.rename(junk.parent / "big-00001-of-00002.gguf")
    for spec in (part, part.parent):
        with pytest.raises(ModelError, match=r"00002.gguf is one part of a .*: gguf-split --merge FIRST_PART big.gguf"):
            parse_source(str(spec))


def test_the_digest_is_that_of_the_file_alone(junk):
    """Other files in the folder make no difference."""
    before = files_digest(parse_source(str(junk)))
    (junk.parent / "notes.txt").write_text("of another model")
    assert files_digest(parse_source(str(junk))) == before
    junk.write_bytes(b"GGUF" + bytes(61))
    assert files_digest(parse_source(str(junk))) != before


def test_missing_packages_are_named(junk, monkeypatch):
    """With the command that installs them."""
    monkeypatch.setattr(gguf, "find_spec", lambda name: None if name == "gguf" else util.find_spec(name))
    with pytest.raises(ModelError, match=r'needs gguf.*; pip install "pytest-unineuron\[gguf\]"'):
        load_model(parse_source(str(junk)))


def test_a_damaged_file_is_an_error_of_one_line(junk, extra):
    with pytest.raises(ModelError, match=r"^model .*junk.Q4_1.gguf: this GGUF file cannot be read: [^\n]+$"):
        load_model(parse_source(str(junk)))


def write_gguf(path, model, words):
    """Write a llama and its tokenizer as llama.cpp does: query and key rows in another order, one matrix quantised."""
    package, config = import_module("gguf"), model.config
    writer = package.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words.get_vocab(), key=words.get_vocab().get))
    writer.add_token_merges(
        [" ".join(pair) for pair in json.loads(words.backend_tokenizer.to_str())["model"]["merges"]]
    )
    writer.add_bos_token_id(words.bos_token_id)
    names = package.get_tensor_name_map(package.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        values, kind = weight.numpy(), None
        if count := next((count for part, count in heads.items() if part in name), 0):
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if name == QUANTISED:
            kind = package.GGMLQuantizationType.Q8_0
            values = package.quantize(values, kind)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_model_is_loaded_in_float32_with_its_tokenizer(extra, tmp_path):
    """Weights are those that were written, up to the rounding of one that was quantised to eight bits."""
    model, path = build("llama"), tmp_path / "tiny.gguf"
    write_gguf(path, model, tokenizer())
    found = load_model(parse_source(str(path)))
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    weights = found.model.state_dict()
    for name, weight in model.state_dict().items():
        rounding = float(weight.abs().max()) / 127 if name == QUANTISED else 0
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=rounding)
    text = "We met seventeen sailors."
    assert found.tokenizer(text)["input_ids"] == tokenizer()(text)["input_ids"]
    assert found.context == 64


def test_a_file_is_parsed_once_for_weights_and_tokenizer(extra, tmp_path, monkeypatch):
    """Apart from the configuration, which is asked for before; the package is as it was afterwards."""
    package, opened = import_module("gguf"), []

    class Reader(package.GGUFReader):
        def __init__(self, path, *args):
            opened.append(path)
            super().__init__(path, *args)

    monkeypatch.setattr(package, "GGUFReader", Reader)
    write_gguf(tmp_path / "tiny.gguf", build("llama"), tokenizer())
    source = parse_source(str(tmp_path / "tiny.gguf"))
    load_configuration(source, source.folder)
    opened.clear()
    load_model(source)
    assert len(opened) == 1
    assert package.GGUFReader is Reader
