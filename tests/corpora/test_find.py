"""Corpora from names, files and folders, and the errors for those that cannot be read."""

import errno
import json
import os
import sys

import pytest

from pytest_unineuron.corpora.find import check_readable, corpora_by_label, corpus_label, find_corpus
from pytest_unineuron.errors import CorpusError


def write(path, text, mode="w"):
    if mode == "wb":
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_text_file_is_a_document_per_paragraph(tmp_path):
    """Paragraphs are separated by empty lines."""
    found = find_corpus(write(tmp_path / "my.txt", "One.\nStill one.\n\nTwo.\n\n\n\nThree.\n"))
    assert [d.text for d in found.documents] == ["One.\nStill one.", "Two.", "Three."]
    assert found.name == "my"


def test_a_jsonl_file_is_a_document_per_line(tmp_path):
    """The field of the text can be named, and fields about the text are read if present."""
    lines = [{"body": "One.", "date": "2020"}, {"body": "Zwei.", "language": "de"}]
    path = write(tmp_path / "my.jsonl", "\n".join(json.dumps(line) for line in lines) + "\n\n")
    found = find_corpus(path, field="body")
    assert [(d.text, d.date, d.language) for d in found.documents] == [("One.", "2020", ""), ("Zwei.", "", "de")]


def test_a_folder_is_a_document_per_text_file(tmp_path):
    """Files are read in the order of their names, those of subfolders included."""
    (tmp_path / "sub").mkdir()
    write(tmp_path / "b.txt", "B one.\n\nB two.")
    write(tmp_path / "sub" / "c.jsonl", json.dumps({"text": "C."}))
    write(tmp_path / "a.txt", "A.")
    write(tmp_path / "notes.md", "not read")
    found = find_corpus(str(tmp_path))
    assert [d.text for d in found.documents] == ["A.", "B one.\n\nB two.", "C."]
    assert found.facts()["not_read"] == ["notes.md"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", "", "0 documents with text, needs at least 2"),
        ("blank.txt", "\n\n   \n", "0 documents with text"),
        ("one.txt", "word", "1 document with text, needs at least 2"),
        ("bad.jsonl", '{"text": "a"}\n{"text": "b"\n', r"bad.jsonl, line 2: not JSON"),
        ("list.jsonl", '{"text": "a"}\n["b"]\n', r"line 2: not an object with fields \(found: list\)"),
        ("other.jsonl", '{"body": "a"}\n', r"line 1: no text in field 'text' \(found: body\); name the field with"),
        ("number.jsonl", '{"text": 3}\n', "line 1: no text in field 'text'"),
    ],
)
def test_the_error_for_a_file_without_a_corpus_names_the_file_or_line(tmp_path, name, content, words):
    """It says what was found there, and which option names another field."""
    with pytest.raises(CorpusError, match=words):
        find_corpus(write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x89PNG\r\n\x1a\n\xff\xfe", "is not UTF-8 text"), (b"abc\0def", "is a binary file")]
)
def test_a_binary_file_is_refused(tmp_path, content, words):
    """It is refused even if its bytes are valid UTF-8."""
    with pytest.raises(CorpusError, match=words):
        find_corpus(write(tmp_path / "my.txt", content, "wb"))


@pytest.mark.parametrize(("encoding", "text"), [("utf-16", "café"), ("utf-16le", "coffee"), ("latin1", "café")])
def test_text_in_another_encoding_says_how_to_convert_it(tmp_path, encoding, text):
    """The encoding is told by its first bytes, or by the zeros in it; else it is a guess."""
    with pytest.raises(CorpusError, match=rf"my.txt is .* iconv -f {encoding} -t utf-8"):
        find_corpus(write(tmp_path / "my.txt", text.encode(encoding), "wb"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda path: os.mkfifo(path),
            "p.txt is no regular file; copy its text into one",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes"),
        ),
        (lambda path: path.symlink_to("gone.txt"), "p.txt is a broken link; repair or delete it"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path, make, words):
    """Reading a pipe would wait for another process for ever."""
    write(tmp_path / "a.txt", "One.")
    make(tmp_path / "p.txt")
    with pytest.raises(CorpusError, match=words):
        find_corpus(str(tmp_path))


def test_a_subfolder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    """Its texts would be left out without a word."""
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, name)
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def locked(path):  # root may read any folder
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(CorpusError, match="sub cannot be read: Permission denied; make it readable, or take it out"):
        find_corpus(str(tmp_path))


def test_a_folder_without_text_is_refused(tmp_path):
    """The error says which kinds of file are read."""
    with pytest.raises(CorpusError, match=r"holds no file of these kinds: .txt, .jsonl, "):
        find_corpus(str(tmp_path))


@pytest.mark.parametrize("spec", ["novels", "gone.txt", "./gone", "/gone/away.jsonl"])
def test_the_error_for_an_unknown_name_lists_the_known_ones(spec):
    """A name, a file and a path that do not exist are refused alike."""
    with pytest.raises(CorpusError, match="no such corpus, file or folder; known by name: code, multilingual, news"):
        find_corpus(spec)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("~nobody-of-this-name/x.txt", "Could not determine home directory."),
        ("x" * 300, "File name too long"),
        ("./" + "x" * 300 + ".txt", "File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused(spec, reason):
    """The error is the same wherever the name is looked up."""
    for look_up in (find_corpus, corpus_label, lambda spec: check_readable(spec, field="text")):
        with pytest.raises(CorpusError, match=f"^corpus {spec}: cannot be looked up .{reason}.; give the whole path"):
            look_up(spec)


def test_a_hub_data_set_needs_the_datasets_library(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"pip install 'pytest-unineuron\[datasets\]'"):
        find_corpus("somebody/something")


@pytest.mark.parametrize("name", ["stdlib", "pydoc"])
def test_the_files_of_python_are_sampled_by_a_fixed_seed(name):
    """The sample is the same every time, and says which version of Python it is from."""
    found = find_corpus(name)
    assert found.fingerprint == find_corpus(name).fingerprint
    assert len(found.documents) > 200
    assert found.documents[0].provenance.startswith("Python 3.")


def test_labels_are_short_and_unique(tmp_path):
    """The label of a path is its stem; two paths with the same stem keep the whole path."""
    paths = []
    for part in "ab":
        (tmp_path / part).mkdir()
        paths.append(write(tmp_path / part / "my.txt", "One.\n\nTwo."))
    assert corpus_label(paths[0]) == "my"
    assert corpus_label("news") == "news"
    assert corpora_by_label(("news", paths[0])) == {"news": "news", "my": paths[0]}
    assert list(corpora_by_label(tuple(paths))) == paths
