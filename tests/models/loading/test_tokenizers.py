"""Tokenizers of every kind: their special tokens, their padding, the token at the end of a word, and their size."""

import json
from importlib.util import find_spec

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from pytest_unineuron import corpora
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document, Mark
from pytest_unineuron.corpora.encode import UNLABELLED, special_tokens
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.errors import CorpusError, ModelError
from pytest_unineuron.models.discovery.anatomy import probe_ids
from pytest_unineuron.models.loading.tokenizer import token_id_count
from tests.models.checkpoints import load
from tests.models.tiny import build, in_memory

SIZE = 300
WORD = "seventeen"


@pytest.fixture(scope="module")
def prose():
    return [document.text for document in from_path("prose", corpora.BUNDLED / "prose.jsonl").documents[:40]]


def byte_level(prose, **named):
    """A byte-level BPE tokenizer like that of GPT-2."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        prose,
        trainers.BpeTrainer(
            vocab_size=SIZE, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def with_bos(prose):
    """A BPE tokenizer that begins every text with a BOS, like that of Llama."""
    made = byte_level(prose, bos_token="<|end|>")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )
    return made


def unigram(prose):
    """A unigram tokenizer that ends every text with an EOS, like that of T5."""
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        prose,
        trainers.UnigramTrainer(
            vocab_size=SIZE, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def word_pieces(prose):
    """A WordPiece tokenizer that puts every text between [CLS] and [SEP], like that of BERT."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        prose,
        trainers.WordPieceTrainer(
            vocab_size=SIZE, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]"], show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )


KINDS = {
    "byte level without special tokens": (byte_level, ((), ()), 0),
    "byte level with an end": (lambda prose: byte_level(prose, eos_token="<|end|>"), ((), ()), 0),
    "byte level with a BOS": (lambda prose: byte_level(prose, bos_token="<|end|>"), ((0,), ()), 0),
    "a BOS by itself": (with_bos, ((0,), ()), 0),
    "unigram": (unigram, ((), (1,)), 0),
    "word pieces": (word_pieces, ((1,), (2,)), 3),
    "bytes": (lambda prose: ByT5Tokenizer(), ((), (1,)), 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_loaded_and_cut(kind, prose, tmp_path):
    """Every block has the special tokens around it once; positions that are not attended to hold the padding, or 0."""
    make, around, padding = KINDS[kind]
    make(prose).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert special_tokens(tokenizer) == around
    text = f"We met {WORD} sailors. "
    start = text.index(WORD)
    marked = Document(text, marks=(Mark(start, start + len(WORD), 7),))
    blocks = to_blocks(
        Corpus("test", (marked, Document("Another text, which is longer. " * 5))), tokenizer, context=64, budget=10**6
    )
    assert blocks.padding == padding
    before, after = around
    for block in blocks.blocks:
        assert len(block.ids) <= 64
        assert (block.ids[: len(before)], block.ids[len(block.ids) - len(after) :]) == (before, after)
        assert block.text_mask == (False,) * len(before) + (True,) * sum(block.text_mask) + (False,) * len(after)
    (at,) = [i for i, label in enumerate(blocks.blocks[0].labels) if label != UNLABELLED]
    assert tokenizer.decode(blocks.blocks[0].ids[len(before) : at + 1]).strip().lower() == f"we met {WORD}"
    batch = blocks.batches(256)[0]
    assert bool((batch.ids[batch.attention_mask == 0] == padding).all())
    assert not bool(batch.text_mask[batch.attention_mask == 0].any())


def test_special_tokens_are_found_although_unknown_text_is_dropped():
    """A tokenizer may drop text that it does not know; special tokens are then found on text that it knows."""
    made = Tokenizer(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "the": 2, "[UNK]": 3}, unk_token="[UNK]"))
    made.model = models.BPE(vocab={"[CLS]": 0, "[SEP]": 1, "0": 2}, merges=[])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    assert special_tokens(PreTrainedTokenizerFast(tokenizer_object=made)) == ((0,), (1,))


class Merging:
    """A tokenizer whose tokens depend on the text behind them, and that returns no offsets."""

    bos_token_id = pad_token_id = None
    all_special_ids = ()

    def __call__(self, text, **_):
        return {"input_ids": [len(text)]}


def test_a_word_without_tokens_of_its_own_is_an_error():
    """No label is put on the wrong token."""
    text = f"{WORD} sailors"
    corpus = Corpus("test", (Document(text, marks=(Mark(0, len(WORD), 1),)), Document("more")))
    with pytest.raises(CorpusError, match=f"does not say which of its tokens are '{WORD}'; save it as tokenizer.json"):
        to_blocks(corpus, Merging(), context=8, budget=100)


def add_token(folder, number):
    """Add a token with this id to the tokenizer in a folder."""
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["model"]["vocab"]["far"] = number
    path.write_text(json.dumps(stored), encoding="utf-8")


@pytest.mark.parametrize(("number", "tokens"), [(SIZE, 301), (400, 401)])
def test_a_token_id_beyond_the_embedding_is_an_error(llama, number, tokens):
    """The largest id counts, not the number of tokens; the error names both sizes."""
    add_token(llama, number)
    with pytest.raises(ModelError, match=f"its tokenizer has {tokens} tokens, its embedding 300; save the model's own"):
        load(llama)


def test_embedding_rows_without_a_token_are_padding(llama):
    """Many models round the number of rows up; none of the additional ids is used as a probe."""
    build("llama", vocab_size=320).save_pretrained(llama)
    found = load(llama)
    assert (found.vocabulary, found.model.get_input_embeddings().weight.shape[0]) == (SIZE, 320)
    assert int(probe_ids(found, rows=50).max()) < SIZE


def test_token_ids_may_have_gaps(llama):
    """The vocabulary reaches to the largest id, also if there are fewer tokens. It is counted once."""
    build("llama", vocab_size=320).save_pretrained(llama)
    add_token(llama, 310)
    found = load(llama)
    assert (len(found.tokenizer), found.vocabulary) == (301, 311)
    assert "vocabulary" in vars(found)
    assert in_memory(found.model, found.tokenizer).vocabulary == token_id_count(found.tokenizer)


@pytest.mark.parametrize(
    "kind", [None, "LlamaTokenizer", "T5Tokenizer", "DebertaV2Tokenizer", "GPT2Tokenizer", "BertTokenizer"]
)
def test_a_tokenizer_without_its_vocabulary_is_an_error(llama, kind):
    """The library would make a tokenizer of special tokens alone, to which all texts are the same."""
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").unlink()
    if kind is not None:
        (llama / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    words = r"its tokenizer (has \d+ tokens and all of them are special, .*; save|cannot be loaded)"
    with pytest.raises(ModelError, match=words):
        load(llama)


PIECES = b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
"""The beginning of a file of sentence pieces, enough for it to be recognised."""


@pytest.mark.parametrize(("kind", "file"), [("T5Tokenizer", "spiece.model"), ("MarianTokenizer", "source.spm")])
def test_a_tokenizer_names_the_library_that_it_needs(llama, kind, file):
    """The error also says in which form a tokenizer needs no library."""
    if find_spec("sentencepiece") is not None:
        pytest.skip("sentencepiece is installed")
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    (llama / file).write_bytes(PIECES)
    words = f"cannot be loaded: .*{file} needs sentencepiece, tiktoken and protobuf: inst"
    with pytest.raises(ModelError, match=words):
        load(llama)
