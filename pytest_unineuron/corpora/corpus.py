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

    Raises CorpusError for fewer than two documents.
    """

    name: str
    documents: tuple[Document, ...]
    labels: tuple[str, ...] = field(default=(), repr=False)

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

    def facts(self) -> dict[str, Any]:
        """Return what the report records about the corpus, as JSON data."""
        dates = sorted(d.date for d in self.documents if d.date)
        return {
            "fingerprint": self.fingerprint,
            "documents": len(self.documents),
            "words": sum(len(d.text.split()) for d in self.documents),
            "languages": sorted({d.language for d in self.documents if d.language}),
            "provenance": sorted({d.provenance for d in self.documents if d.provenance})[:5],
            "dates": [dates[0], dates[-1]] if dates else [],
        }
