"""The class and the configuration of a model: found from its files, and never from code of its own."""

import shutil

import pytest
import torch
import transformers

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.verification import verify
from tests.models.checkpoints import change_json, change_weights, load


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
def test_a_saved_model_is_loaded_with_its_class_and_weights(saved, mapping, architecture):
    """Neurons are found in the loaded model, and verified."""
    folder, model = saved(mapping, architecture)
    found = load(folder)
    assert type(found.model) is type(model)
    before, after = dict(model.named_parameters()), dict(found.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    verify(found.model, dissect(found).layout, probe_ids(found, rows=2))


@pytest.mark.parametrize("architectures", [None, [], "LlamaForCausalLM", ["NobodysLlama"], ["LlamaConfig"]])
def test_the_weights_tell_the_class_if_the_configuration_does_not(llama, architectures):
    """It has a head if the files have one."""
    change_json(llama / "config.json", architectures=architectures)
    assert type(load(llama).model) is transformers.LlamaForCausalLM
    if architectures != "LlamaForCausalLM":
        change_weights(llama, lambda state: state.pop("lm_head.weight"))
        assert type(load(llama).model) is transformers.LlamaModel


@pytest.mark.parametrize(("mapping", "architecture"), [("masked", "bert"), ("seq2seq", "t5"), ("image-text", "llava")])
def test_the_class_fits_the_kind_of_model(saved, tmp_path, mapping, architecture):
    """This holds also if config.json names no class."""
    folder, model = saved(mapping, architecture)
    copy = shutil.copytree(folder, tmp_path / "copy")
    change_json(copy / "config.json", architectures=None)
    assert type(load(copy).model) is type(model)


def test_code_of_a_model_is_never_run(llama, tmp_path):
    """A class of transformers is used where there is one; otherwise the error says which part needs code."""
    for name in ("modeling_mine.py", "tokenization_mine.py"):
        (llama / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = llama / "config.json"
    change_json(config, auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    load(llama)
    own = r"is not part of transformers .* own code \(auto_map\) is never run; name a revision or a conversion"
    change_json(config, architectures=["Mine"])
    with pytest.raises(ModelError, match=f"Mine {own}"):
        load(llama)
    change_json(config, model_type="mine", auto_map={"AutoConfig": "modeling_mine.Mine"})
    with pytest.raises(ModelError, match=f"model_type 'mine' {own}"):
        load(llama)
    change_json(config, model_type="llama", architectures=["LlamaForCausalLM"], auto_map=None)
    tokenizer = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["tokenization_mine.Mine", None]}}
    change_json(llama / "tokenizer_config.json", **tokenizer)
    with pytest.raises(ModelError, match=f"its tokenizer {own}"):
        load(llama)
    assert not (tmp_path / "ran").exists()


def test_a_model_that_reads_no_text_is_refused(tmp_path):
    """The error comes before its weights are read."""
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="ViTForImageClassification reads no text; name a language model"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "its config.json is not valid JSON"),
        ("[1]", "its config.json is not a JSON object; save it with save_pretrained"),
        ("{}", "its configuration cannot be used: .*Should have a `model_type` key"),
        ('{"model_type": ["llama"]}', "its configuration cannot be used"),
        ('{"model_type": "unheard-of"}', "its configuration cannot be used"),
        ('{"model_type": "llama", "hidden_size": "big"}', "'hidden_size': .* expected int, got str"),
        ('{"model_type": "llama", "architectures": ["GPT2LMHeadModel"]}', "GPT2LMHeadModel .* no class for .*'llama'"),
    ],
)
def test_a_wrong_configuration_is_an_error(llama, text, words):
    """The error says in one sentence what is wrong."""
    (llama / "config.json").write_text(text)
    with pytest.raises(ModelError, match=words):
        load(llama)
