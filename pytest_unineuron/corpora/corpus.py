"""A corpus: named documents with their provenance, and a fingerprint of their texts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pytest_unineuron.errors import CorpusError


@dataclass(frozen=True)
class Mark:
    """A part of a document's text, from character ``start`` up to ``stop``, that has a label."""

    start: int
    stop: int
    label: int


@dataclass(frozen=True)
class Document:
    """One text. Unknown fields are empty strings. ``marks`` label some of its words."""

    text: str
    provenance: str = ""
    language: str = ""
    domain: str = ""
    date: str = ""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """At least two documents under a name. ``labels`` are the names of the labels that marks refer to by number.

    ``not_read`` names the other files of a folder. Raises CorpusError for fewer than two documents.
    """

    name: str
    documents: tuple[Document, ...]
    labels: tuple[str, ...] = field(default=(), repr=False)
    not_read: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.documents) < 2:
            count = len(self.documents)
            raise CorpusError(
                f"corpus {self.name}: {count} document{'s' * (count != 1)} with text, needs at least 2, since every "
                "interval rests on differences between documents; give more text"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the texts and their marks, in order; it depends on nothing else."""
        content = [[d.text, [[m.start, m.stop, m.label] for m in d.marks]] for d in self.documents]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8")).hexdigest()

    @cached_property
    def copy_of(self) -> tuple[int, ...]:
        """For each document the number of the first one that it is a copy of; its own number if it is none."""
        from pytest_unineuron.corpora.copies import first_copies  # imports NumPy

        return first_copies([document.text for document in self.documents])

    @property
    def distinct(self) -> list[Document]:
        """The documents without those that are copies of earlier ones."""
        return [self.documents[number] for number in sorted(set(self.copy_of))]

    def facts(self) -> dict[str, Any]:
        """Return what the report records about the corpus, as JSON data. ``documents`` are distinct, beside copies."""
        dates = sorted(d.date for d in self.documents if d.date)
        distinct = len(self.distinct)
        return {
            "fingerprint": self.fingerprint,
            "documents": distinct,
            "copies": len(self.documents) - distinct,
            "words": sum(len(d.text.split()) for d in self.documents),
            "languages": sorted({d.language for d in self.documents if d.language}),
            "provenance": sorted({d.provenance for d in self.documents if d.provenance})[:5],
            "dates": [dates[0], dates[-1]] if dates else [],
            "not_read": list(self.not_read),
        }
