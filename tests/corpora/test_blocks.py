"""The division of documents into blocks and batches of tokens."""

import copy

import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerFast

from pytest_unineuron.corpora import number_words
from pytest_unineuron.corpora.blocks import GROUPS, to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.encode import control_ids
from pytest_unineuron.errors import CorpusError
from tests.models.tiny import tokenizer


def is_text(text):
    """Whether all of it is text: Hypothesis also tries strings that it finds in our source, such as special tokens."""
    return bool(text.strip()) and tokenizer().eos_token not in text


texts = st.lists(st.text(min_size=1, max_size=120).filter(is_text), min_size=2, max_size=30)


def corpus(*texts):
    return Corpus("test", tuple(Document(text) for text in texts))


def text_ids(blocks):
    """The tokens of text, in order."""
    return [t for b in blocks.blocks for t, is_text in zip(b.ids, b.text_mask, strict=True) if is_text]


@given(texts, st.integers(8, 40), st.integers(16, 200))
def test_the_place_of_a_token_is_that_of_its_number_in_the_batches(documents, context, batch):
    """Whatever the size of batches: the block has the token at the position, and it is a token of text."""
    blocks = to_blocks(corpus(*documents), tokenizer(), context=context, budget=10**6)
    ids = torch.cat([part.ids[part.text_mask] for part in blocks.batches(batch)]).tolist()
    places = [blocks.place_of(number) for number in range(len(ids))]
    assert [block.ids[position] for block, position in places] == ids
    assert all(block.text_mask[position] for block, position in places)


@given(texts, st.integers(8, 40), st.integers(16, 200))
def test_text_masks_mark_every_token_of_text_once(documents, context, batch):
    """The marked tokens are the documents in order; BOS and padding are not marked, and blocks fit the context."""
    tok = tokenizer()
    blocks = to_blocks(corpus(*documents), tok, context=context, budget=10**6)
    expected = [token for text in documents for token in tok(text, add_special_tokens=False)["input_ids"]]
    assert text_ids(blocks) == expected
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
    """Documents are dealt into sixteen groups in turn; fewer documents make fewer groups."""
    many = to_blocks(corpus(*(f"text {i}" for i in range(50))), tokenizer(), context=32, budget=10**6)
    assert many.groups == GROUPS
    assert len({part.group for part in many.batches(10_000)}) == GROUPS
    few = to_blocks(corpus("one", "two", "three"), tokenizer(), context=32, budget=10**6)
    assert few.groups == 3


def test_no_token_beyond_the_budget_is_read():
    """Documents are cut off, and those that were not drawn are not read."""
    documents = corpus("a first text", "a second, longer text", "third")
    blocks = to_blocks(documents, tokenizer(), context=32, budget=12)
    assert blocks.tokens == 12
    assert blocks.documents == 3
    assert to_blocks(documents, tokenizer(), context=32, budget=2).documents == 2


def test_too_little_text_is_an_error():
    """One document has no interval."""
    with pytest.raises(CorpusError, match="1 tokens in 1 documents are too few to say anything"):
        to_blocks(corpus("a b c d e f", "g h"), tokenizer(), context=32, budget=1)


def test_a_context_without_room_is_an_error():
    """There is an error if the special tokens alone fill the context."""
    with pytest.raises(CorpusError, match="leaves no room for text"):
        to_blocks(corpus("a", "b"), tokenizer(), context=2, budget=10)


def test_special_tokens_inside_a_document_are_no_text():
    """They are read, but the text, and what the budget allows of it, is the same as without them."""
    tok = tokenizer()
    special = tok.eos_token
    mixed = (f"{special}one{special} two three{special * 40}", f"{special * 40} four five{special} six seven")
    for budget in (16, 1000):
        found = to_blocks(corpus(special * 3, *mixed), tok, context=16, budget=budget)
        plain = to_blocks(corpus("one two three", " four five six seven"), tok, context=99, budget=budget)
        assert tok.decode(text_ids(found)) == tok.decode(text_ids(plain))
        assert found.tokens == plain.tokens <= budget
        assert found.documents == 2
        assert all(any(block.text_mask) for block in found.blocks)
    assert tok.decode(text_ids(found)) == "one two three four five six seven"
    assert sum(block.ids.count(tok.eos_token_id) for block in found.blocks) > len(found.blocks)


def words_tokenizer(**specials):
    """A tokenizer of whole words, in which a word that it does not know is [UNK]."""
    model = tokenizers.models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, **specials)


def test_tokens_that_are_only_marked_as_special_are_no_text():
    """They have no name such as eos_token; a token that is added without the mark is text."""
    tok = words_tokenizer(unk_token="[UNK]", eos_token="<end>")
    tok.add_tokens([AddedToken("<header>", special=True), AddedToken("<word>", special=False)])
    assert tok.convert_tokens_to_ids("<header>") not in tok.all_special_ids
    assert control_ids(tok) == set(tok.convert_tokens_to_ids(["<end>", "<header>"]))


def test_a_token_for_unknown_text_is_text_where_there_is_such_text():
    """A tokenizer of bytes knows every text, so that its unknown token only marks something else."""
    assert 0 not in control_ids(words_tokenizer(unk_token="[UNK]", eos_token="<end>"))
    assert 0 in control_ids(words_tokenizer(unk_token="[UNK]", eos_token="[UNK]"))
    tok = copy.deepcopy(tokenizer())
    tok.add_special_tokens(
        {"unk_token": tok.eos_token, **dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<end>")}
    )
    assert tok.unk_token_id in control_ids(tok)


@pytest.mark.real
def test_the_special_tokens_of_smollm2_are_no_text(smollm2):
    """Its unknown token ends documents, and those of files and repositories are only marked as special."""
    tok = AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    assert control_ids(tok) == set(range(17))


def test_copies_are_one_document_in_one_group():
    """Four texts in several spellings are four documents, whatever their order; each is in a group of its own."""
    texts = ["One day\nit rained.", "And then it did not.", "It was cold.", "Nobody knew why."]
    spelled = [write(text) for write in (str, str.upper, lambda t: t.replace(" ", "\r\n  ")) for text in texts * 8]
    blocks = to_blocks(corpus(*spelled), tokenizer(), context=64, budget=10**6)
    assert len(spelled) == 96
    assert (blocks.documents, blocks.groups) == (4, 4)
    assert [blocks.documents_of(group) for group in range(4)] == [1] * 4
    group_of = [block.document % blocks.groups for block in blocks.blocks]
    assert group_of == [0, 1, 2, 3] * 24
    assert blocks.corpus.facts()["copies"] == 92


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60))
def test_documents_are_dealt_evenly(kinds):
    """Copies are in one group, and no group has more documents than another beyond the largest set of copies."""
    documents = corpus(*(f"Text of number {kind}." for kind in kinds))
    if len(set(kinds)) < 2:
        return
    blocks = to_blocks(documents, tokenizer(), context=64, budget=10**6)
    assert len({(kind, block.document) for kind, block in zip(kinds, blocks.blocks, strict=True)}) == len(set(kinds))
    assert blocks.documents == len(set(kinds)) == sum(map(blocks.documents_of, range(blocks.groups)))
    held = [sum(b.document % blocks.groups == group for b in blocks.blocks) for group in range(blocks.groups)]
    assert blocks.groups == min(GROUPS, len(set(kinds)))
    assert min(held) > 0
    assert max(held) - min(held) <= max(map(kinds.count, kinds))
    if len(set(kinds)) == len(kinds):
        assert [block.document for block in blocks.blocks] == list(range(len(kinds)))


def test_padding_is_not_attended_to():
    """The attention masks of a batch have the lengths of its blocks, longest first."""
    blocks = to_blocks(corpus("a much longer document than the other", "short"), tokenizer(), context=32, budget=100)
    object.__setattr__(blocks, "groups", 1)
    (batch,) = blocks.batches(10_000)
    assert batch.attention_mask.sum(dim=1).tolist() == [
        len(block.ids) for block in sorted(blocks.blocks, key=lambda b: -len(b.ids))
    ]


@pytest.mark.parametrize("compare", [None, 1, 40, 300, 10**6])
def test_as_many_tokens_are_compared_as_are_asked_for(compare):
    """They are spread over all groups of documents; without a number, all tokens of text are compared."""
    blocks = to_blocks(
        corpus(*(f"A text of number {i}. " * 3 for i in range(50))), tokenizer(), context=32, budget=10**6
    )
    found = blocks.batches(256, compare=compare)
    assert sum(batch.n_compared for batch in found) == min(compare or 10**6, blocks.tokens)
    assert sum(batch.tokens for batch in found) == blocks.tokens
    if compare != 1:
        assert {batch.group for batch in found if batch.n_compared} == set(range(blocks.groups))


@pytest.mark.parametrize(("budget", "sentences"), [(44_000, 6), (12_000, 2), (10, 1)])
def test_every_probe_word_is_read_in_as_many_sentences_of_each_set_as_the_budget_allows(budget, sentences):
    probe = number_words.corpus(number_words.sentences_within(budget))
    blocks = to_blocks(probe, tokenizer(), context=64, budget=10**9)
    labels = torch.tensor([label for block in blocks.blocks for label in block.labels])
    counts = torch.bincount(labels[labels >= 0])
    assert counts.tolist() == [sentences] * (2 * len(number_words.WORDS))
