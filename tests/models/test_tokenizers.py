"""Tokenizers of every kind: what stands around a text, what fills a row, and which token a word ends in."""

import json
import shutil
from importlib.util import find_spec

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from pytest_unineuron import corpora
from pytest_unineuron.corpora.blocks import UNLABELLED, special_tokens, to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document, Mark
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.errors import CorpusError, ModelError
from pytest_unineuron.models.discovery.anatomy import probe_ids
from pytest_unineuron.models.loading.load import LoadedModel, load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.loading.tokenizer import token_id_count
from tests.models.tiny import build

SIZE = 300
WORD = "seventeen"


@pytest.fixture(scope="module")
def prose():
    return [document.text for document in from_path("prose", corpora.BUNDLED / "prose.jsonl").documents[:40]]


def byte_level(prose, **named):
    """Byte-level BPE, as GPT-2's."""
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
    """BPE that puts a BOS in front by itself, as Llama's."""
    made = byte_level(prose, bos_token="<|end|>")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )
    return made


def unigram(prose):
    """Unigram pieces with an end behind the text, as T5's."""
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
    """WordPiece between [CLS] and [SEP], as BERT's."""
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
    """Its own special tokens around every block, none twice; its own padding, or 0, where nothing is attended to."""
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


def test_a_tokenizer_that_drops_what_it_does_not_know(prose):
    """What stands around a text is seen on a text that it knows."""
    made = Tokenizer(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "the": 2, "[UNK]": 3}, unk_token="[UNK]"))
    made.model = models.BPE(vocab={"[CLS]": 0, "[SEP]": 1, "0": 2}, merges=[])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    assert special_tokens(PreTrainedTokenizerFast(tokenizer_object=made)) == ((0,), (1,))


class Merging:
    """Stands for a tokenizer in Python code whose tokens depend on what follows, and that does not say where."""

    bos_token_id = pad_token_id = None

    def __call__(self, text, **_):
        return {"input_ids": [len(text)]}


def test_a_word_that_cannot_be_told_from_its_neighbours():
    """Rather than a label on the wrong token."""
    text = f"{WORD} sailors"
    corpus = Corpus("test", (Document(text, marks=(Mark(0, len(WORD), 1),)), Document("more")))
    with pytest.raises(CorpusError, match=f"does not say which of its tokens are '{WORD}'; save it as tokenizer.json"):
        to_blocks(corpus, Merging(), context=8, budget=100)


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny("llama"), tmp_path / "model")


def with_token(folder, number):
    """Give one more token this id, in the tokenizer of a folder."""
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["model"]["vocab"]["far"] = number
    path.write_text(json.dumps(stored), encoding="utf-8")


def test_more_tokens_than_rows_is_an_error(folder):
    """Both numbers are named: an index beyond the table would fail later, or worse."""
    with_token(folder, SIZE)
    with pytest.raises(ModelError, match="its tokenizer has 301 tokens, its embedding 300; save the model's own"):
        load_model(parse_source(str(folder)))


def test_fewer_tokens_than_rows_is_padding(folder):
    """Rows that no token has, as many models have to make the number round; none of them is a probe."""
    build("llama", vocab_size=320).save_pretrained(folder)
    found = load_model(parse_source(str(folder)))
    assert (found.vocabulary, found.model.get_input_embeddings().weight.shape[0]) == (SIZE, 320)
    assert int(probe_ids(found, rows=50).max()) < SIZE


def test_ids_may_have_holes(folder):
    """A token far behind the others belongs to the vocabulary, though there are not so many."""
    build("llama", vocab_size=320).save_pretrained(folder)
    with_token(folder, 310)
    found = load_model(parse_source(str(folder)))
    assert (len(found.tokenizer), found.vocabulary) == (301, 311)


def test_an_id_beyond_the_table_counts_however_few_there_are(folder):
    """It is the largest id that is looked up."""
    with_token(folder, 400)
    with pytest.raises(ModelError, match="its tokenizer has 401 tokens, its embedding 300"):
        load_model(parse_source(str(folder)))


def test_the_number_of_ids_is_counted_once(folder):
    """It is asked for again and again."""
    found = load_model(parse_source(str(folder)))
    assert found.vocabulary == SIZE
    assert "vocabulary" in vars(found)
    assert LoadedModel(found.model, found.tokenizer, "", folder).vocabulary == token_id_count(found.tokenizer)


PIECES = b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
"""A model of sentence pieces, as far as it takes to look like one."""


@pytest.mark.parametrize(
    "kind", ["LlamaTokenizer", "T5Tokenizer", "DebertaV2Tokenizer", "GPT2Tokenizer", "BertTokenizer"]
)
def test_a_tokenizer_without_its_vocabulary(folder, kind):
    """The library makes one of special tokens, which reads every text alike."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    with pytest.raises(
        ModelError, match=r"its tokenizer (has \d+ tokens and all of them are special|cannot be loaded)"
    ):
        load_model(parse_source(str(folder)))


@pytest.mark.parametrize(("kind", "file"), [("T5Tokenizer", "spiece.model"), ("MarianTokenizer", "source.spm")])
def test_a_tokenizer_that_takes_another_library(folder, kind, file):
    """Which, and that it can be saved so that it takes none."""
    if find_spec("sentencepiece") is not None:
        pytest.skip("sentencepiece is installed")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    (folder / file).write_bytes(PIECES)
    with pytest.raises(
        ModelError, match=f"cannot be loaded: .*{file} needs sentencepiece, tiktoken and protobuf: inst"
    ):
        load_model(parse_source(str(folder)))
