"""The formats of corpus files: the same rows are the same documents, however they are written and packed."""

import bz2
import gzip
import json
import lzma
import sys
from importlib.util import find_spec

import pandas
import pytest

from pytest_unineuron.corpora.find import corpus_label, find_corpus
from pytest_unineuron.errors import CorpusError

ROWS = [{"text": 'One,\n"two"\nthree.', "language": "en"}, {"text": "Œuvre.", "language": "fr"}]
LINES = "\n".join(map(json.dumps, ROWS)).encode()
TABLE = pandas.DataFrame(ROWS)


def parquet(path, table=TABLE):
    if find_spec("pyarrow") is None:
        pytest.skip("Parquet needs pyarrow: pip install pyarrow")
    table.to_parquet(path)


WRITERS = {
    "my.jsonl": lambda path: path.write_bytes(LINES),
    "my.NDJSON": lambda path: path.write_bytes(LINES),
    "my.json": lambda path: path.write_text(json.dumps(ROWS)),
    "my.csv": lambda path: TABLE.to_csv(path, index=False),
    "my.tsv": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    "my.parquet": parquet,
    "my.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES)),
    "my.jsonl.bz2": lambda path: path.write_bytes(bz2.compress(LINES)),
    "my.jsonl.xz": lambda path: path.write_bytes(lzma.compress(LINES)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_rows_are_the_same_documents(tmp_path, name):
    """The label is the name without its suffixes."""
    WRITERS[name](tmp_path / name)
    found = find_corpus(str(tmp_path / name))
    assert [(d.text, d.language) for d in found.documents] == [(row["text"], row["language"]) for row in ROWS]
    assert found.name == "my"


@pytest.mark.parametrize("name", ["my.txt", "my.jsonl", "my.csv"])
def test_line_ends_and_byte_order_marks_are_no_text(tmp_path, name):
    """A file from Windows has the fingerprint that it has from Unix."""
    content = {
        "my.txt": "One.\nStill one.\n\nTwo.\n",
        "my.jsonl": '{"text": "One.\\nStill one."}\n{"text": "Two."}\n',
        "my.csv": 'text\n"One.\nStill one."\nTwo.\n',
    }[name]
    (tmp_path / name).write_bytes(content.encode())
    unix = find_corpus(str(tmp_path / name))
    windows = content.replace("\\n", "\\r\\n").replace("\n", "\r\n")
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + windows.encode())
    assert find_corpus(str(tmp_path / name)).fingerprint == unix.fingerprint
    assert [d.text for d in unix.documents] == ["One.\nStill one.", "Two."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.html", b"<p>One.</p>", "is of none of these kinds: .txt, .*; rename a plain text to .txt"),
        ("my.json", b'{"text": "One."}', r"not a list of objects \(found: dict\); rename .* to .jsonl"),
        (
            "my.json",
            b'{"text": "One."}\n{"text": "Two."}',
            "not JSON .*; rename a file with one object per line to .jsonl",
        ),
        ("my.json", b'["One.", "Two."]', r"row 1: not an object with fields \(found: str\)"),
        ("my.csv", b"body\nOne.\nTwo.\n", r"row 1: no text in field 'text' \(found: body\)"),
        ("my.csv", b'text\n"One.\n', "not a table: "),
        (
            "my.csv",
            b"text,to\nOne, two.,a\nThree, four.,b\n",
            r"row 1: more fields than the header \(text, to\); quote",
        ),
        ("my.csv", b"text,to\nOne.,a\nTwo, three.,b\n", r"saw 3; quote fields that hold ','"),
        ("my.csv", b"text,to,text\nOne,a,Two\n", r"two columns are named 'text'; rename or delete one"),
        ("my.csv", b"One " * 40_000 + b"\nTwo\n", r"line 1: no names of columns: field larger than field limit"),
        ("my.jsonl", b'{"text": "One", "text": "Two"}\n', r"line 1: not JSON \(the field 'text' comes twice\)"),
        ("my.tsv", b"text\tto\nOne\t.\ta\n", r"more fields .* quote fields that hold '\\t'"),
        ("my.tsv", b'text\tto\n"He said\ta\nOne\tb\nTwo" she\tc\n', r"line 4: '\t' expected after '\"'; put a field"),
        ("my.parquet", b"PAR1junk", "not Parquet|needs pyarrow"),
        ("my.txt.gz", b"plain", "cannot be read: "),
        ("my.jsonl.zst", b"plain", "cannot be read: |pip install zstandard"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path, name, content, message):
    """The message names the file, and what to do where that is known."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        find_corpus(str(tmp_path / name))


@pytest.mark.parametrize("name", ["my.jsonl", "my.json", "my.csv", "my.parquet"])
def test_a_field_without_a_value_is_absent(tmp_path, name):
    """It is no word such as nan, however a format writes it; a row of a table may end before it."""
    rows = [
        {"text": "One.", "language": "en", "date": "2020"},
        {"text": "Two.", "language": None, "date": float("nan")},
    ]
    path = tmp_path / name
    if name == "my.parquet":
        parquet(path, pandas.DataFrame(rows))
    else:
        contents = {"my.jsonl": "\n".join(map(json.dumps, rows)), "my.json": json.dumps(rows)}
        path.write_text(contents.get(name, "text,language,date\nOne.,en,2020\nTwo.\n"))
    found = find_corpus(str(path)).documents
    assert [(document.language, document.date) for document in found] == [("en", "2020"), ("", "")]


def test_a_cell_of_a_table_with_several_values_is_an_error(tmp_path):
    """In Parquet it is an array."""
    parquet(tmp_path / "my.parquet", pandas.DataFrame([{"text": "One.", "language": ["en", "fr"]}] * 2))
    with pytest.raises(CorpusError, match=r"my.parquet, row 1, field 'language': no text \(found: ndarray\)"):
        find_corpus(str(tmp_path / "my.parquet"))


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    """The error of pandas is about the engines that it knows."""
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "my.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"^corpus my: .*my.parquet: Parquet needs pyarrow: pip install pyarrow$"):
        find_corpus(str(tmp_path / "my.parquet"))


def test_a_zstandard_file_that_was_cut_off_is_an_error(tmp_path):
    """Its own reader ends there without a word. A file of several frames is read whole."""
    zstandard = pytest.importorskip("zstandard")
    lines = "".join(f"Document {number} has a text of its own.\n\n" for number in range(20_000))
    packed = zstandard.ZstdCompressor().compress(lines.encode())
    (tmp_path / "my.txt.zst").write_bytes(packed * 2)
    assert len(find_corpus(str(tmp_path / "my.txt.zst")).documents) == 40_000
    (tmp_path / "my.txt.zst").write_bytes(packed + packed[: len(packed) // 2])
    with pytest.raises(CorpusError, match=r"my.txt.zst cannot be read: .*ended before"):
        find_corpus(str(tmp_path / "my.txt.zst"))


def test_zstandard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    """The name of the package is that of its module."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "my.txt.zst").write_bytes(b"packed")
    with pytest.raises(CorpusError, match=r"my.txt.zst cannot be unpacked: pip install zstandard$"):
        find_corpus(str(tmp_path / "my.txt.zst"))


def test_hidden_files_are_left_out_and_links_followed(tmp_path):
    """A link that leads back does not make a loop."""
    folder, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for part in (folder / ".git", folder / ".ipynb_checkpoints", elsewhere):
        part.mkdir(parents=True)
        (part / "a.txt").write_text(f"In {part.name}.")
    (folder / ".hidden.txt").write_text("Hidden.")
    (folder / "B.TXT").write_text("Seen.")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    found = find_corpus(str(folder))
    assert sorted(d.text for d in found.documents) == ["In elsewhere.", "Seen."]


def test_the_label_is_the_name_that_was_typed(tmp_path):
    """A link has its own name, not that of the file behind it."""
    (tmp_path / "v2.1.txt").write_text("One.\n\nTwo.")
    (tmp_path / "latest.txt").symlink_to(tmp_path / "v2.1.txt")
    (tmp_path / "newest").symlink_to(tmp_path)
    assert corpus_label(str(tmp_path / "latest.txt")) == "latest"
    assert corpus_label(str(tmp_path / "newest")) == "newest"
    assert corpus_label(str(tmp_path / "v2.1.txt")) == "v2.1"


def test_the_label_of_a_snapshot_in_the_cache_of_the_hub_is_its_hub_id(tmp_path):
    """The name of its folder is a hash. A snapshot of a model is no data set."""
    labels = {"datasets--wiki--text": "wiki/text", "datasets--squad": "squad", "models--org--name": "abc123"}
    for name, label in labels.items():
        (tmp_path / name / "snapshots" / "abc123").mkdir(parents=True)
        assert corpus_label(str(tmp_path / name / "snapshots" / "abc123")) == label
