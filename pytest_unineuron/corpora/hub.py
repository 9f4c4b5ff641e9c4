"""Corpora from a data set of the hub, through the optional ``datasets`` library."""

from __future__ import annotations

from itertools import islice

from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.errors import CorpusError

ROWS = 5000
"""Rows that are read at most; the token budget decides how many of them are used."""


def from_hub(spec: str, *, field: str = "text") -> Corpus:
    """The first rows of a data set, streamed. ``OWNER/NAME``, ``OWNER/NAME:CONFIG`` or ``…:CONFIG:SPLIT``.

    Raises CorpusError if ``datasets`` is not installed, the data set cannot be had, or a row has no text.
    """
    try:
        import datasets
    except ImportError:
        raise CorpusError(
            f"corpus {spec}: data sets of the hub need the datasets library: pip install 'pytest-unineuron[datasets]'"
        ) from None
    name, _, rest = spec.partition(":")
    configuration, _, split = rest.partition(":")
    try:
        rows = list(
            islice(datasets.load_dataset(name, configuration or None, split=split or "train", streaming=True), ROWS)
        )
    except Exception as error:  # whatever the hub, the network or the data set's own files come up with
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorpusError(f"corpus {spec}: the data set cannot be read: {reason}") from error
    if rows and not isinstance(rows[0].get(field), str):
        raise CorpusError(
            f"corpus {spec}: no text in field {field!r} (found: {', '.join(rows[0])}); "
            "name the field with --unineuron-text-field"
        )
    return Corpus(spec, tuple(Document(row[field], provenance=name) for row in rows if row[field].strip()))
