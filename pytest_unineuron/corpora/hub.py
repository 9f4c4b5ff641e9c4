"""Corpora from data sets of the Hugging Face Hub, through the optional ``datasets`` library."""

from __future__ import annotations

from itertools import islice

from pytest_unineuron.corpora.checked import checked, text_in
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.errors import CorpusError, first_line

MAX_ROWS = 5000
"""Rows that are read at most; the token budget decides how many of them are used."""


def from_hub(spec: str, *, field: str = "text") -> Corpus:
    """Stream the first rows of ``OWNER/NAME``, ``OWNER/NAME:CONFIG`` or ``OWNER/NAME:CONFIG:SPLIT``, one document each.

    Raises CorpusError if ``datasets`` is not installed, the data set cannot be read, or a row has no text in ``field``.
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
            islice(datasets.load_dataset(name, configuration or None, split=split or "train", streaming=True), MAX_ROWS)
        )
    except Exception as error:  # the hub, the network and the files of a data set raise errors of many libraries
        raise CorpusError(f"corpus {spec}: the data set cannot be read: {first_line(error)}") from error
    places = [f"corpus {spec}: row {number}" for number in range(1, len(rows) + 1)]
    documents = [
        checked(place, Document(text_in(place, row, field), provenance=name), field=field)
        for place, row in zip(places, rows, strict=True)
    ]
    return Corpus(spec, tuple(document for document in documents if document.text.strip()))
