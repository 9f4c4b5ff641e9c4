"""Texts of single tokens, for tokenizers of three kinds."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pytest_unineuron.roles.token_texts import token_texts

TEXT = "the cat sat on the mats, a catastrophe"
KINDS = {
    "byte level": (
        models.BPE(),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
        trainers.BpeTrainer,
    ),
    "SentencePiece": (models.BPE(), pre_tokenizers.Metaspace(), decoders.Metaspace(), trainers.BpeTrainer),
    "WordPiece": (
        models.WordPiece(unk_token="[UNK]"),
        pre_tokenizers.Whitespace(),
        decoders.WordPiece(),
        trainers.WordPieceTrainer,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_of_tokens_make_up_the_text(kind):
    """With the space before each word, and without marks of the tokenizer."""
    model, splitter, decoder, trainer = KINDS[kind]
    made = Tokenizer(model)
    made.normalizer, made.pre_tokenizer, made.decoder = normalizers.NFC(), splitter, decoder
    made.train_from_iterator([TEXT] * 20, trainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    texts = token_texts(tokenizer, ids)
    assert "".join(texts[token] for token in ids).strip() == TEXT
    assert {text for text in texts.values() if text.startswith(" ")}
