"""Corpora from files: ``.txt`` (a document per paragraph), ``.jsonl`` (one per line), or a folder of these."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARAGRAPH = re.compile(r"\n\s*\n")


def from_path(name: str, path: Path, *, field: str = "text") -> Corpus:
    """Read the corpus in a file or folder. Raises CorpusError, which names the file and, if there is one, the line."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".txt", ".jsonl"))
        if not files:
            raise CorpusError(f"corpus {name}: {path} holds no .txt and no .jsonl file")
        # In a folder each text file is one document; a single text file has a document per paragraph.
        documents = [d for file in files for d in _documents(name, file, field, whole=True)]
    else:
        documents = list(_documents(name, path, field, whole=False))
    return Corpus(name, tuple(documents))


def _documents(name: str, path: Path, field: str, *, whole: bool) -> Iterator[Document]:
    """The documents of one file; a text file is ``whole`` or split into paragraphs."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise CorpusError(f"corpus {name}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"corpus {name}: {path} is not UTF-8 text (byte {error.start})") from None
    if "\0" in text:
        raise CorpusError(f"corpus {name}: {path} is a binary file: it holds NUL bytes")
    if path.suffix == ".jsonl":
        yield from _lines(name, path, text, field)
    else:
        pieces = [text] if whole else _PARAGRAPH.split(text)
        yield from (Document(piece.strip("\n"), provenance=path.name) for piece in pieces if piece.strip())


def _lines(name: str, path: Path, text: str, field: str) -> Iterator[Document]:
    """The documents of JSON lines, without blank lines and texts."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"corpus {name}: {path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict) or not isinstance(row.get(field), str):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(
                f"corpus {name}: {path}, line {number}: no text in field {field!r} (found: {found}); "
                "name the field with --unineuron-text-field"
            )
        if row[field].strip():
            known = [str(row.get(key, "")) for key in ("provenance", "language", "domain", "date")]
            yield Document(row[field], known[0], known[1], known[2], known[3])
