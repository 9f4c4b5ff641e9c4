"""The formats of corpus files: how each is unpacked and read into rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_unineuron.corpora.checked import unix_text
from pytest_unineuron.errors import CorpusError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    Rows = Iterator[tuple[str, Mapping[str, Any]]]
    """The rows of a file, each with the words that say where it is."""

TEXT_SUFFIX = ".txt"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def unpack(where: str, path: Path) -> bytes:
    """Return the content of a file, unpacked if its last suffix is one of ``COMPRESSIONS``.

    Raises CorpusError for a file that cannot be read or unpacked, and for a pipe or device, which may never end.
    """
    with suppress(OSError):  # reading it says what is wrong
        if path.is_symlink() and not path.exists():
            raise CorpusError(f"{where} is a broken link; repair or delete it")
        if path.exists() and not path.is_file():
            raise CorpusError(f"{where} is no regular file; copy its text into one")
    try:
        content = path.read_bytes()
        unpacked = COMPRESSIONS.get(path.suffix.lower())
        return unpacked(content) if unpacked else content
    except ImportError as error:
        raise CorpusError(f"{where} cannot be unpacked: pip install {error.name}") from None
    except Exception as error:  # each library has an error of its own for damaged data
        raise CorpusError(f"{where} cannot be read: {getattr(error, 'strerror', None) or first_line(error)}") from error


def decode(where: str, content: bytes) -> str:
    """Return the text in UTF-8, as in Unix. Raises CorpusError for content that is no text."""
    try:
        text = unix_text(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        encoding = "utf-16" if content.startswith(UTF16_MARKS) else "latin1"
        hint = f"if it is text, convert it, such as with iconv -f {encoding} -t utf-8"
        raise CorpusError(f"{where} is not UTF-8 text (byte {error.start}); {hint}") from None
    if "\0" in text:
        hint = "if it is text, convert it, such as with iconv -f utf-16le -t utf-8"
        raise CorpusError(f"{where} is a binary file: it holds NUL bytes; {hint}")
    return text


def read_rows(where: str, kind: str, content: bytes) -> Rows:
    """Yield the rows of a file of one of ``ROW_FORMATS``. Raises CorpusError for content of another form."""
    return ROW_FORMATS[kind](where, content)


def _json_lines(where: str, content: bytes) -> Rows:
    for number, line in enumerate(decode(where, content).split("\n"), start=1):
        if line.strip():
            place = f", line {number}"
            yield place, _object(where + place, _parse(where + place, line))


def _json(where: str, content: bytes) -> Rows:
    hint = "; rename a file with one object per line to .jsonl"
    rows = _parse(where, decode(where, content), hint)
    if not isinstance(rows, list):
        raise CorpusError(f"{where}: not a list of objects (found: {type(rows).__name__}){hint}")
    for number, row in enumerate(rows, start=1):
        yield f", row {number}", _object(f"{where}, row {number}", row)


def _table(separator: str) -> Callable[[str, bytes], Rows]:
    def read(where: str, content: bytes) -> Rows:
        import pandas

        text = decode(where, content)
        quote = f"quote fields that hold {separator!r}"
        try:
            table = pandas.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
        except ValueError as error:
            raise CorpusError(f"{where}: not a table: {first_line(error)}; {quote}") from None
        try:
            header = next(csv.reader(io.StringIO(text), delimiter=separator), [])
        except csv.Error as error:  # a document where the names of the columns should be
            raise CorpusError(f"{where}, line 1: no names of columns: {error}; write them there") from None
        if repeated := _repeated(header):
            raise CorpusError(f"{where}: two columns are named {repeated!r}; rename or delete one")
        if len(table) and not isinstance(table.index, pandas.RangeIndex):  # of what longer rows begin with
            raise CorpusError(f"{where}, row 1: more fields than the header ({', '.join(table)}); {quote}")
        if '"' in text:
            _check_quotes(where, text, separator)
        return _rows(table)

    return read


def _check_quotes(where: str, text: str, separator: str) -> None:
    """Raise CorpusError for text behind the closing quote of a field: pandas would read on to the next quote."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # a field may be a long document
    try:
        for _ in rows:
            pass
    except csv.Error as error:
        raise CorpusError(
            f"{where}, line {rows.line_num}: {error}; put a field that begins with a quotation mark in quotes, "
            "and double those within"
        ) from None
    finally:
        csv.field_size_limit(limit)


def _parquet(where: str, content: bytes) -> Rows:
    import pandas

    try:
        table = pandas.read_parquet(io.BytesIO(content))
    except ImportError:
        raise CorpusError(f"{where}: Parquet needs pyarrow: pip install pyarrow") from None
    except Exception as error:  # pyarrow raises errors of its own
        raise CorpusError(f"{where}: not Parquet: {first_line(error)}") from error
    return _rows(table)


def _rows(table: Any) -> Rows:
    known = table.astype(object).where(table.notna(), None)  # a cell without a value is nan in pandas
    for number, row in enumerate(known.to_dict("records"), start=1):
        yield f", row {number}", row


def _parse(where: str, text: str, hint: str = "") -> Any:
    try:
        # NaN is what pandas writes for no value.
        return json.loads(text, parse_constant=lambda _: None, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON ({error}){hint}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these fields. Raises ValueError for one that comes twice, of which JSON takes the last."""
    if repeated := _repeated(name for name, _ in pairs):
        raise ValueError(f"the field {repeated!r} comes twice")
    return dict(pairs)


def _repeated(names: Iterable[str]) -> str:
    return next((name for name, times in Counter(names).items() if times > 1), "")


def _object(where: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: not an object with fields (found: {type(row).__name__})")
    return row


def _unpack_zst(content: bytes) -> bytes:
    import zstandard  # type: ignore[import-not-found, unused-ignore]

    unpacked = []
    while content:  # a frame at a time: the reader of the package takes a file that was cut off as one that ends
        frame = zstandard.ZstdDecompressor().decompressobj()
        unpacked.append(frame.decompress(content))
        if not frame.eof:
            raise EOFError("compressed file ended before the end of its data")
        content = frame.unused_data
    return b"".join(unpacked)


ROW_FORMATS: dict[str, Callable[[str, bytes], Rows]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
}
"""The readers of files that hold one document per row, by suffix."""
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": _unpack_zst,
}
"""Functions that unpack a file, by its last suffix."""
