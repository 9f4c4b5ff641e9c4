"""How documents are cut for a model."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.corpora import number_words
from pytest_unineuron.corpora.blocks import GROUPS, UNLABELLED, special_tokens, to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document, Mark
from pytest_unineuron.errors import CorpusError
from tests.models.tiny import tokenizer

texts = st.lists(st.text(min_size=1, max_size=120).filter(str.strip), min_size=2, max_size=30)


def corpus(*texts):
    return Corpus("test", tuple(Document(text) for text in texts))


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(8, 40), st.integers(16, 200))
def test_every_token_of_text_counts_once_and_nothing_else(documents, context, batch):
    """Blocks spell the documents; BOS and padding do not count; no block holds two documents."""
    tok = tokenizer()
    blocks = to_blocks(corpus(*documents), tok, context=context, budget=10**6)
    expected = [token for text in documents for token in tok(text, add_special_tokens=False)["input_ids"]]
    spelled = [t for b in blocks.blocks for t, counts in zip(b.ids, b.text_mask, strict=True) if counts]
    assert spelled == expected
    assert blocks.tokens == len(expected)
    assert all(len(block.ids) <= context and block.ids[0] == tok.bos_token_id for block in blocks.blocks)

    seen = 0
    for part in blocks.batches(batch):
        assert part.ids.shape == part.text_mask.shape == part.attention_mask.shape == part.labels.shape
        assert bool((part.attention_mask.bool() | ~part.text_mask).all())
        assert part.ids.numel() <= max(batch, part.ids.shape[1])
        seen += part.tokens
    assert seen == blocks.tokens


def test_groups_hold_whole_documents():
    """Sixteen groups, dealt in turn; fewer documents make fewer groups."""
    many = to_blocks(corpus(*(f"text {i}" for i in range(50))), tokenizer(), context=32, budget=10**6)
    assert many.groups == GROUPS
    assert len({part.group for part in many.batches(10_000)}) == GROUPS
    few = to_blocks(corpus("one", "two", "three"), tokenizer(), context=32, budget=10**6)
    assert few.groups == 3


def test_the_budget_ends_the_reading():
    """Not a token more, and documents behind it are not read."""
    blocks = to_blocks(corpus("a first text", "a second, longer text", "third"), tokenizer(), context=32, budget=12)
    assert blocks.tokens == 12
    assert blocks.documents == 2


@pytest.mark.parametrize("budget", [1, 3])
def test_too_little_text_is_an_error(budget):
    """One document, or one token, says nothing."""
    with pytest.raises(CorpusError, match="too few to say anything"):
        to_blocks(corpus("a b c d e f", "g h"), tokenizer(), context=32, budget=budget)


def test_a_context_without_room_is_an_error():
    """The special tokens alone fill it."""
    with pytest.raises(CorpusError, match="leaves no room for text"):
        to_blocks(corpus("a", "b"), tokenizer(), context=2, budget=10)


def test_padding_does_not_change_what_is_attended():
    """Rows of different lengths share a batch."""
    blocks = to_blocks(corpus("a much longer document than the other", "short"), tokenizer(), context=32, budget=100)
    object.__setattr__(blocks, "groups", 1)
    (batch,) = blocks.batches(10_000)
    assert batch.attention_mask.sum(dim=1).tolist() == [
        len(block.ids) for block in sorted(blocks.blocks, key=lambda b: -len(b.ids))
    ]


def test_a_marked_word_is_labelled_at_its_last_token():
    """However many tokens it takes."""
    tok = tokenizer()
    text = "We met seventeen sailors."
    start = text.index("seventeen")
    marked = Document(text, marks=(Mark(start, start + len("seventeen"), 7),))
    blocks = to_blocks(Corpus("test", (marked, Document("other text"))), tok, context=60, budget=100)
    (block, _) = blocks.blocks
    (at,) = [i for i, label in enumerate(block.labels) if label != UNLABELLED]
    assert block.labels[at] == 7
    assert tok.decode(block.ids[1 : at + 1]) == "We met seventeen"


def test_every_probe_word_is_read_in_every_sentence():
    """Twelve sentences in two sets."""
    blocks = to_blocks(number_words.corpus(), tokenizer(), context=64, budget=10**9)
    labels = torch.tensor([label for block in blocks.blocks for label in block.labels])
    counts = torch.bincount(labels[labels >= 0])
    assert counts.tolist() == [6] * (2 * len(number_words.WORDS))


def test_specials_are_those_of_the_tokenizer(minilm):
    """A lone BOS for the zoo's; [CLS] and [SEP] for an encoder's."""
    from transformers import AutoTokenizer

    assert special_tokens(tokenizer()) == ((0,), ())
    encoder = AutoTokenizer.from_pretrained(minilm)
    assert special_tokens(encoder) == ((encoder.cls_token_id,), (encoder.sep_token_id,))
