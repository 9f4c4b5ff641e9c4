"""Corpora from files: text, JSON lines, JSON, CSV, TSV or Parquet, compressed or not, or a folder of these."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.corpora.checked import checked, fact_in, text_in
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.formats import COMPRESSIONS, ROW_FORMATS, TEXT_SUFFIX, decode, read_rows, unpack
from pytest_unineuron.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = ("provenance", "language", "domain", "date")
"""Fields of a row about its text."""
_PARAGRAPH = re.compile(r"\n\s*\n")


def from_path(name: str, path: Path, *, field: str = "text") -> Corpus:
    """Read the corpus in a file or folder. Raises CorpusError, which names the file and, if there is one, the line.

    The corpus names files of other kinds in a folder; hidden files and folders are left out.
    """
    if not path.is_dir():
        return Corpus(name, tuple(_documents(name, path, field, whole=False)))
    files = sorted(_files_below(name, path))
    readable = [file for file in files if file_format(file)]
    if not readable:
        raise CorpusError(f"corpus {name}: {path} holds no file of these kinds: {', '.join(FORMATS)}")
    # In a folder each text file is one document; a single text file has a document per paragraph.
    documents = [document for file in readable for document in _documents(name, file, field, whole=True)]
    others = [str(file.relative_to(path)) for file in files if not file_format(file)]
    return Corpus(name, tuple(documents), not_read=tuple(others))


FORMATS = (TEXT_SUFFIX, *ROW_FORMATS)
"""The suffixes of the files that are read, before one for compression."""


def file_format(path: Path) -> str:
    """Return the suffix in ``FORMATS`` that says how a file is read; empty for a file that is not.

    >>> file_format(Path("news.JSONL.gz"))
    '.jsonl'
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else ""


def name_without_suffixes(path: Path) -> str:
    """Return the name of a file without the suffixes of its format and of its compression.

    >>> name_without_suffixes(Path("v2.1.jsonl.gz"))
    'v2.1'
    """
    packed = path.suffix.lower() in COMPRESSIONS
    return Path(path.stem).stem if packed else path.stem


def _files_below(name: str, folder: Path) -> Iterator[Path]:
    """The files below a folder, those behind links included, without hidden ones.

    Raises CorpusError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        where = f"corpus {name}: {error.filename}"
        raise CorpusError(f"{where} cannot be read: {error.strerror}; make it readable, or take it out") from error

    seen = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = sorted(each for each in folders if not each.startswith(".") and real not in seen)
        if real not in seen:
            yield from (Path(place, file) for file in files if not file.startswith("."))
        seen.add(real)


def _documents(name: str, path: Path, field: str, *, whole: bool) -> Iterator[Document]:
    """The documents of one file; a text file is ``whole`` or split into paragraphs."""
    where = f"corpus {name}: {path}"
    kind = file_format(path)
    if not kind:
        raise CorpusError(f"{where} is of none of these kinds: {', '.join(FORMATS)}; rename a plain text to .txt")
    content = unpack(where, path)
    if kind == TEXT_SUFFIX:
        text = decode(where, content)
        pieces = [text] if whole else _PARAGRAPH.split(text)
        yield from (Document(piece.strip("\n"), provenance=path.name) for piece in pieces if piece.strip())
        return
    for line, row in read_rows(where, kind, content):
        place = f"{where}{line}"
        provenance, language, domain, date = (fact_in(place, row, key) for key in KNOWN)
        found = Document(text_in(place, row, field), provenance, language, domain, date)
        document = checked(place, found, field=field)
        if document.text.strip():
            yield document
