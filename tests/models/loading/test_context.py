"""The context of a model: the longest input that it takes."""

import pytest
import torch
import transformers

from pytest_unineuron.models.loading.context import UNLIMITED
from pytest_unineuron.models.loading.forward import run_model
from tests.models.checkpoints import byte_tokenizer, load


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
def test_the_longest_input_runs_and_one_more_token_does_not(saved, mapping, architecture, context, hard):
    """Tables of positions that begin after the position of padding have room for fewer tokens."""
    found = load(saved(mapping, architecture)[0])
    assert found.context == context
    ids = torch.randint(10, 170, (1, context + 1))
    run_model(found.model, ids[:, :context], torch.ones_like(ids[:, :context]))
    if hard:
        with pytest.raises((IndexError, RuntimeError)):
            run_model(found.model, ids, torch.ones_like(ids))


@pytest.mark.parametrize(("mapping", "architecture"), [("seq2seq", "t5"), ("causal", "bloom"), ("causal", "mamba")])
def test_models_without_absolute_positions_have_no_limit(saved, mapping, architecture):
    """Models with relative positions, and state space models, take an input of any length."""
    found = load(saved(mapping, architecture)[0])
    assert found.context == UNLIMITED
    ids = torch.randint(10, 170, (1, 600))
    run_model(found.model, ids, torch.ones_like(ids))


def test_an_encoder_and_a_decoder_have_the_shorter_context(tmp_path):
    """Both are given the same text."""
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
    byte_tokenizer().save_pretrained(tmp_path)
    assert load(tmp_path).context == 48
