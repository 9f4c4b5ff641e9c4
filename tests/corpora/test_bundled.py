"""The bundled corpora are large enough, dated, of known origin, and without repetition."""

import ast
import json
from collections import Counter

import pytest

from pytest_unineuron import corpora
from pytest_unineuron.corpora.find import find_corpus

NAMES = sorted(path.stem for path in corpora.BUNDLED.glob("*.jsonl"))
"""Every file in the folder, so that another corpus is tested without another test."""
LARGER = {"prose": (300, 9000)}


def rows(name):
    return [json.loads(line) for line in (corpora.BUNDLED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", NAMES)
class TestBundled:
    """Properties that each of the bundled corpora has."""

    def test_it_has_enough_documents_and_words(self, name):
        """Intervals need documents, and moments need words."""
        documents, words = LARGER.get(name, (100, 6000))
        texts = [row["text"] for row in rows(name)]
        assert len(texts) >= documents
        assert sum(len(text.split()) for text in texts) >= words

    def test_every_line_says_where_it_comes_from(self, name):
        """Every document has an id, provenance, language, domain and date."""
        for row in rows(name):
            assert all(row.get(key) for key in ("id", "text", "provenance", "language", "domain", "date"))

    def test_hardly_any_text_is_repeated(self, name):
        """Fewer than one in a hundred sequences of eight words are repeated."""
        grams = Counter()
        for row in rows(name):
            words = row["text"].lower().split()
            grams.update(tuple(words[i : i + 8]) for i in range(len(words) - 7))
        repeated = sum(grams.values()) - len(grams)
        assert repeated / sum(grams.values()) < 0.01

    def test_hardly_any_documents_begin_alike(self, name):
        """More than four documents with the same first words would look like a template."""
        openings = Counter(" ".join(row["text"].split()[:4]) for row in rows(name))
        assert openings.most_common(1)[0][1] <= 4

    def test_the_fingerprint_is_that_of_the_texts(self, name):
        """The same texts have the same fingerprint, whether read by name or by path."""
        found = find_corpus(name)
        assert len(found.documents) == len(rows(name))
        assert found.fingerprint == find_corpus(str(corpora.BUNDLED / f"{name}.jsonl")).fingerprint


@pytest.mark.parametrize(
    "name", [name for name in vars(TestBundled) if name.startswith("test_") and "print" not in name]
)
def test_a_bad_corpus_is_caught(name, tmp_path, monkeypatch):
    """Five identical lines without provenance fail every test of a bundled corpus but that of its fingerprint."""
    monkeypatch.setattr(corpora, "BUNDLED", tmp_path)
    line = json.dumps({"text": "The same nine words again and again and again."})
    (tmp_path / "bad.jsonl").write_text(f"{line}\n" * 5, encoding="utf-8")
    with pytest.raises(AssertionError):
        getattr(TestBundled(), name)("bad")


def test_news_is_from_after_2022():
    """No model of the paper can have seen it."""
    assert min(row["date"] for row in rows("news")) > "2022-12"


def test_languages_are_those_described():
    """The corpora hold French, Spanish and German, and Python, SQL, JavaScript and shell."""
    languages = Counter(row["language"] for row in rows("multilingual"))
    assert all(languages[name] >= 30 for name in ("fr", "es", "de"))
    kinds = Counter(row["language"] for row in rows("code"))
    assert set(kinds) == {"python", "sql", "javascript", "shell"}
    assert kinds["python"] > kinds["sql"] > kinds["shell"]


def test_the_python_code_parses():
    """Every document of Python is a valid program."""
    for row in rows("code"):
        if row["language"] == "python":
            ast.parse(row["text"])
