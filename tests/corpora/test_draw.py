"""The documents that are read within a budget of tokens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_unineuron.corpora import draw
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.draw import draw_documents
from pytest_unineuron.corpora.text import from_path
from tests.models.tiny import tokenizer


def corpus(lengths):
    """Documents of so many words each, of which each has its number in every word."""
    return Corpus("test", tuple(Document(f" word{number}" * length) for number, length in enumerate(lengths)))


def read(lengths, budget, shares=16):
    return draw_documents(corpus(lengths), tokenizer(), budget, shares=shares)


def tokens(document):
    return len(tokenizer()(document.text)["input_ids"])


@given(st.lists(st.integers(1, 40), min_size=2, max_size=40), st.integers(1, 3000), st.integers(1, 20))
def test_the_budget_is_used_and_kept(lengths, budget, shares):
    """Tokens are within the budget, up to a remainder of less than one per document, and all if they fit into it."""
    documents = corpus(lengths).documents
    found, total = read(lengths, budget, shares), sum(map(tokens, documents))
    used = sum(each.tokens for each in found)
    assert min(budget, total) - len(found) < used <= min(budget, total)
    if total <= budget:
        assert [each.document for each in found] == list(documents)
    assert all(any(document.text.startswith(each.document.text) for document in documents) for each in found)


@settings(max_examples=10)
@given(st.lists(st.integers(30, 60), min_size=30, max_size=60))
def test_no_document_takes_more_than_its_share(lengths):
    """One that is longer than the budget takes a share like others, wherever it is."""
    for place in (0, len(lengths) // 2, len(lengths)):
        found = read([*lengths[:place], 5000, *lengths[place:]], 800)
        assert max(each.tokens for each in found) <= 50
        assert len(found) >= 16
        assert sum(each.tokens for each in found) == 800


def test_long_documents_fill_a_budget_that_the_others_leave():
    """All short ones are read as a whole, and two long ones alike."""
    found = read([3, 1000, 3, 1000, 3], 500)
    assert [each.tokens == tokens(each.document) for each in found] == [True] * 5
    assert len({found[1].tokens, found[3].tokens}) == 1
    assert sum(each.tokens for each in found) in (499, 500)


def test_documents_are_drawn_over_a_whole_folder(tmp_path):
    """A third of the tokens is of all languages, the same ones each time, in the order of the corpus."""
    for folder, text in (("a_en", "The boat was in the harbour, number"), ("z_zh", "船在港口里，编号")):
        (tmp_path / folder).mkdir()
        for number in range(30):
            (tmp_path / folder / f"{number:02}.txt").write_text(f"{text} {number}.", encoding="utf-8")
    whole = from_path("both", tmp_path)
    budget = sum(map(tokens, whole.documents)) // 3
    found, again = (draw_documents(whole, tokenizer(), budget, shares=16) for _ in range(2))
    assert found == again
    texts = [each.document.text for each in found]
    assert 5 < sum(text.startswith("The") for text in texts) < 25
    assert 3 < sum(text.startswith("船") for text in texts) < 25
    order = [document.text for document in whole.documents]
    places = [order.index(text) for text in texts if text in order]  # the last one drawn may be cut
    assert places == sorted(places)
    assert len(places) >= len(texts) - 1


def test_a_very_long_document_is_tokenized_in_part(monkeypatch):
    """What is read of it is the same."""
    lengths = [3000, 5, 3000]
    whole = read(lengths, 100)
    seen, encode = [], draw.encode

    def encode_and_note(tokenizer, document):
        seen.append(len(document.text))
        return encode(tokenizer, document)

    monkeypatch.setattr(draw, "LONGEST_TEXT", 4000)
    monkeypatch.setattr(draw, "encode", encode_and_note)
    assert [each.ids for each in read(lengths, 100)] == [each.ids for each in whole]
    assert max(seen) == 4000
