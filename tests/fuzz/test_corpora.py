"""Damaged corpora are read exactly, or refused in one sentence that names the file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import CorpusError
from tests.fuzz import damage

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), max_size=6)
other = st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2) | st.just({})
rows = st.lists(st.text(max_size=20) | other, max_size=5)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder in which corpora are written."""
    return tmp_path_factory.mktemp("fuzz")


def unix(text):
    """The text with the line ends of Unix, without byte order marks."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")


def read(path, content):
    """The texts in a file of this content; None if it is refused in one sentence that names it."""
    path.write_bytes(content)
    try:
        return [document.text for document in find_corpus(str(path)).documents]
    except CorpusError as error:
        refused = str(error)
    assert path.stem in refused
    assert "\n" not in refused
    return None


@damage.fuzz_settings(75)
@given(written=texts)
def test_a_jsonl_file_gives_its_texts(folder, written):
    """The texts are unchanged and in order, without those that are blank."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written)
    there = [unix(text) for text in written if unix(text).strip()]
    assert read(folder / "my.jsonl", lines.encode("utf-8")) == (there if len(there) >= 2 else None)


@damage.fuzz_settings(50)
@given(written=texts)
def test_a_text_file_gives_its_paragraphs(folder, written):
    """Nothing is added, and only blank lines between paragraphs are removed."""
    content = "\n\n".join(written)
    found = read(folder / "my.txt", content.encode("utf-8"))
    if found is not None:
        assert "".join("".join(found).split()) == "".join(unix(content).split())
        assert all(text.strip() for text in found)
    else:
        assert len([text for text in written if unix(text).strip()]) < 2


@damage.fuzz_settings(75)
@given(first=damage.of_lines, then=st.just([]) | damage.of_bytes)
def test_a_damaged_line_is_refused_and_never_left_out(folder, first, then):
    """Every line is a text or blank, or the file is refused."""
    whole = "".join(json.dumps({"text": f"text {n} é", "date": "2024"}) + "\n" for n in range(5)).encode()
    content = damage.bytes_after(damage.lines_after(whole, first), then)
    found = read(folder / "my.jsonl", content)
    if found is None:
        return
    lines = [line for line in unix(content.decode("utf-8")).split("\n") if line.strip()]
    there = [json.loads(line)["text"] for line in lines]
    assert found == [unix(text) for text in there if unix(text).strip()]


@damage.fuzz_settings(50)
@given(fields=rows, missing=st.integers(0, 9))
def test_fields_that_are_no_text_are_refused(folder, fields, missing):
    """Files with null, numbers, lists, or rows without the field are refused."""
    made = [{"text": value} if n != missing else {"body": "x"} for n, value in enumerate(fields)]
    content = "".join(json.dumps(row) + "\n" for row in made).encode("utf-8")
    found = read(folder / "my.jsonl", content)
    good = all(isinstance(value, str) for value in fields) and missing >= len(fields)
    there = [unix(value) for value in fields if isinstance(value, str) and unix(value).strip()]
    if found is not None:
        assert good
        assert found == there
    else:
        assert not good or len(there) < 2 or any("\0" in t or _half(t) for t in there)


def _half(text):
    """Whether a text contains a lone surrogate."""
    return any("\ud800" <= c <= "\udfff" for c in text)


@damage.fuzz_settings(30)
@given(
    written=st.lists(st.sampled_from(["Größe und Maß", "naïve façade", "日本", "plain"]), min_size=2, max_size=4),
    encoding=st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "shift_jis"]),
)
def test_another_encoding_is_refused_or_means_the_same(folder, written, encoding):
    """A file in another encoding is refused, or gives the texts that were written."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written)
    found = read(folder / "my.jsonl", lines.encode(encoding, "backslashreplace"))
    assert found in (None, written)


DEEP = b'{"text": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "content",
    [DEEP, b'{"text": "' + b"a" * 3_000_000 + b'"}\n', b'{"text": 1' + b"0" * 10_000 + b"}\n"],
    ids=["deep", "long", "digits"],
)
def test_extreme_lines_are_refused_or_read_exactly(folder, content):
    """The lines are deeply nested, millions of characters long, or hold a number of ten thousand digits."""
    whole = content + b'\n{"text": "other"}\n'
    found = read(folder / "my.jsonl", whole)
    assert found in (None, ["a" * 3_000_000, "other"])
