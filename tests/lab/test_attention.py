"""The part of a corpus at which attention is read."""

from pytest_unineuron import corpora
from pytest_unineuron.corpora import public_texts
from pytest_unineuron.corpora.blocks import Block, Blocks, to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.encode import UNLABELLED
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.lab.attention import ATTENTION_TOKENS, OPENING, openings
from tests.models.tiny import tokenizer


def test_it_is_the_openings_of_documents_of_all_groups():
    """Each document is read once, from its start."""
    blocks = to_blocks(from_path("prose", corpora.BUNDLED / "prose.jsonl"), tokenizer(), context=100, budget=20_000)
    found = openings(blocks)
    assert len(found.blocks) == found.documents == len({block.document for block in found.blocks})
    assert {block.document % found.groups for block in found.blocks} == set(range(blocks.groups))
    assert ATTENTION_TOKENS - OPENING < found.tokens <= ATTENTION_TOKENS
    first = {block.document: block for block in reversed(blocks.blocks)}
    assert all(block.ids == first[block.document].ids[:OPENING] for block in found.blocks)


def test_the_special_tokens_after_a_text_stay_behind_it():
    """Only text is left out."""
    length = OPENING + 9
    block = Block(tuple(range(length)), (False, *[True] * (length - 3), False, False), (UNLABELLED,) * length, 0)
    short = Block((0, 1, 2), (False, True, False), (UNLABELLED,) * 3, 1)
    found = openings(
        Blocks(Corpus("made", (Document("a", "x"), Document("b", "x"))), (block, short), groups=2, padding=0)
    ).blocks
    assert found[0].ids == (*range(OPENING - 2), length - 2, length - 1)
    assert found[0].text_mask == (False, *[True] * (OPENING - 3), False, False)
    assert found[1] == short


def test_public_texts_of_a_kind_are_groups_of_their_own():
    """A set of several texts has a group for each of them."""
    blocks = public_texts.in_sets(to_blocks(public_texts.corpus(), tokenizer(), context=512, budget=10**9))
    assert public_texts.one_by_one(blocks, "style").groups == 5
    assert public_texts.one_by_one(blocks, "style 3").groups == 1
    news = public_texts.one_by_one(blocks, "twenty of news")
    assert [batch.group for batch in news.batches(1)] == list(range(20))
