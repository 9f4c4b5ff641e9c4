"""Documents of every source are read alike: texts as in Unix, and an error for what is no text."""

import json
import sys
from types import SimpleNamespace

import pytest

from pytest_unineuron.corpora import GENERATED
from pytest_unineuron.corpora.corpus import Corpus, Document, Mark
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import CharacterError, CorpusError

GOOD = {"text": "Two."}


def in_lines(folder, rows, monkeypatch):
    path = folder / "my.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def on_the_hub(folder, rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: rows))
    return "somebody/something"


def declared(folder, rows, monkeypatch):
    monkeypatch.setitem(GENERATED._rows, "mine", lambda: Corpus("mine", tuple(Document(**row) for row in rows)))
    return "mine"


WRITERS = {"my.jsonl, line": in_lines, "something: row": on_the_hub, "mine: document": declared}
sources = pytest.mark.parametrize("place", WRITERS)


@pytest.mark.parametrize("text", ["\ufeffOne.\r\nStill one.\r", "One.\r\ufeffStill one.\n"])
@sources
def test_line_ends_and_byte_order_marks_are_no_text(tmp_path, monkeypatch, place, text):
    """They are as in Unix, wherever a document is from."""
    found = find_corpus(WRITERS[place](tmp_path, [{"text": text}, GOOD], monkeypatch))
    assert [document.text for document in found.documents] == ["One.\nStill one.\n", "Two."]


@pytest.mark.parametrize("code", [0xD83D, 0xDE00])
@sources
def test_half_of_a_surrogate_pair_names_its_place(tmp_path, monkeypatch, place, code):
    """It is no character, and cannot be encoded as UTF-8 later on."""
    spec = WRITERS[place](tmp_path, [GOOD, {"text": f"a {chr(code)} b"}], monkeypatch)
    with pytest.raises(CharacterError, match=rf"{place} 2, field 'text': \\u{code:x} is half of a surrogate pair"):
        find_corpus(spec)


@pytest.mark.parametrize("field", ["provenance", "language", "domain", "date"])
@pytest.mark.parametrize("place", ["my.jsonl, line", "mine: document"])
def test_half_of_a_surrogate_pair_is_no_character_in_other_fields_either(tmp_path, monkeypatch, place, field):
    """They are hashed and reported too."""
    spec = WRITERS[place](tmp_path, [GOOD, {"text": "One.", field: "\ud800"}], monkeypatch)
    with pytest.raises(CharacterError, match=rf"{place} 2, field '{field}': \\ud800 is half of a surrogate pair"):
        find_corpus(spec)


@pytest.mark.parametrize(("value", "found"), [(None, "null"), (3, "int")])
@sources
def test_a_field_without_text_says_what_it_holds(tmp_path, monkeypatch, place, value, found):
    """The field is there, so its name alone would not help."""
    spec = WRITERS[place](tmp_path, [GOOD, {"text": value}], monkeypatch)
    with pytest.raises(CorpusError, match=rf"{place} 2.*: no text.* \(found: {found}\); .*write text there"):
        find_corpus(spec)


@pytest.mark.parametrize("value", [["en"], [], {"code": "en"}])
def test_a_field_about_a_text_holds_one_value(tmp_path, monkeypatch, value):
    """A list would be a language of its own."""
    spec = in_lines(tmp_path, [GOOD, {"text": "One.", "language": value}], monkeypatch)
    found = rf"my.jsonl, line 2, field 'language': no text \(found: {type(value).__name__}\); write text there"
    with pytest.raises(CorpusError, match=found):
        find_corpus(spec)


def test_a_number_about_a_text_is_its_text(tmp_path, monkeypatch):
    """JSON and Parquet have years that are no words."""
    found = find_corpus(in_lines(tmp_path, [GOOD, {"text": "One.", "date": 2020}], monkeypatch))
    assert [document.date for document in found.documents] == ["", "2020"]


def test_a_name_of_a_field_is_shown_as_it_can_be_printed(tmp_path, monkeypatch):
    """It may hold half of a surrogate pair as well."""
    with pytest.raises(CorpusError, match=r"line 2: no text in field 'text' \(found: te\\ud800xt\)"):
        find_corpus(in_lines(tmp_path, [GOOD, {"te\ud800xt": "One."}], monkeypatch))


def test_marks_stay_at_their_words(monkeypatch):
    """The characters before them are fewer than they were."""
    marks = (Mark(1, 6, 0), Mark(8, 11, 1))
    monkeypatch.setitem(
        GENERATED._rows, "mine", lambda: Corpus("mine", (Document("\ufeffBegin\r\nend", marks=marks), Document("x")))
    )
    first = find_corpus("mine").documents[0]
    assert [first.text[mark.start : mark.stop] for mark in first.marks] == ["Begin", "end"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("my.txt", "\ufeffOne.\n\n\ufeffTwo.\n"), ("my.jsonl", '\ufeff{"text": "One."}\n\ufeff{"text": "Two."}\n')],
)
def test_joined_files_have_byte_order_marks_in_the_middle(tmp_path, name, content):
    """Each of the files began with one."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert [document.text for document in find_corpus(str(tmp_path / name)).documents] == ["One.", "Two."]
