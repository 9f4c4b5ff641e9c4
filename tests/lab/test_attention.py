"""The part of a corpus at which attention is read."""

import numpy as np

from pytest_unineuron import corpora
from pytest_unineuron.corpora import public_texts
from pytest_unineuron.corpora.blocks import Block, Blocks, to_blocks
from pytest_unineuron.corpora.encode import UNLABELLED
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.lab.arm import RUN_TOKENS, Arm
from pytest_unineuron.lab.attention import ATTENTION_TOKENS, OPENING, openings
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.lab.runs import RUN_LENGTH, small_part
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.roles.attention import attention_sums
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
    block = Block(tuple(range(length)), (False, *[True] * (length - 3), False, False), (UNLABELLED,) * length, 0, "")
    short = Block((0, 1, 2), (False, True, False), (UNLABELLED,) * 3, 1, "")
    found = openings(Blocks(find_corpus("news"), (block, short), groups=2, padding=0)).blocks
    assert found[0].ids == (*range(OPENING - 2), length - 2, length - 1)
    assert found[0].text_mask == (False, *[True] * (OPENING - 3), False, False)
    assert found[1] == short


def test_special_tokens_as_long_as_an_opening_are_left_out():
    """Of a document that is filled up with special tokens, the text is read."""
    block = Block(tuple(range(400)), (*[True] * 100, *[False] * 300), (UNLABELLED,) * 400, 0, "")
    (found,) = openings(Blocks(find_corpus("news"), (block,), groups=1, padding=0)).blocks
    assert found.ids == tuple(range(OPENING))


def test_public_texts_of_a_kind_are_groups_of_their_own():
    """A set of several texts has a group for each of them."""
    blocks = public_texts.in_sets(to_blocks(public_texts.corpus(), tokenizer(), context=512, budget=10**9))
    assert public_texts.one_by_one(blocks, "style").groups == 5
    assert public_texts.one_by_one(blocks, "style 3").groups == 1
    news = public_texts.one_by_one(blocks, "twenty of news")
    assert [batch.group for batch in news.batches(1)] == list(range(20))


def test_long_documents_leave_room_for_others_in_a_small_part():
    """Of blocks of a whole context, openings are read, so that there are document groups enough for an interval."""
    ids = tuple(range(512))
    long = [Block(ids, (False, *[True] * 511), (UNLABELLED,) * 512, number // 3, "") for number in range(3 * 40)]
    found = small_part(Blocks(find_corpus("news"), tuple(long), groups=16, padding=0))
    assert {block.document % 16 for block in found.blocks} == set(range(16))
    assert RUN_TOKENS - RUN_LENGTH < found.tokens <= RUN_TOKENS


def test_a_trial_may_read_attention_by_itself(tiny, tmp_path):
    """What it reads is another part of the text than that of the fixture, and another result in the cache."""
    first, second = (
        Lab(Settings(tokens=3000), {"m": parse_source(str(tiny("gpt2")))}, {"prose": "prose"}, folder=tmp_path)
        for _ in range(2)
    )
    own = first.runs(Arm("m"), "prose").role(attention_sums)
    of_fixture, again = (lab.attention.attention(Arm("m"), "prose").mean("first") for lab in (first, second))
    assert not np.allclose(own.mean("first").numpy(), of_fixture)
    np.testing.assert_array_equal(again, of_fixture)
