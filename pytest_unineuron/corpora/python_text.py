"""Corpora from the files of the running Python: its standard library and its reference manual."""

from __future__ import annotations

import platform
import random
import re
import sysconfig
from importlib import import_module
from pathlib import Path

from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.errors import CorpusError

SAMPLE = 600
"""Documents drawn with a fixed seed: more than the token budget of an ordinary run."""
_DEFINITION = re.compile(r"^(?=(?:async )?def |class )", re.MULTILINE)


def stdlib() -> Corpus:
    """Return a seeded sample of the top-level functions and classes of the standard library.

    Raises CorpusError if this Python was installed without them.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    pieces = []
    for path in sorted(folder.glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="ignore")
        pieces += [(path.name, piece.rstrip()) for piece in _DEFINITION.split(source)[1:] if len(piece) > 200]
    return _sampled("stdlib", pieces, language="python")


def pydoc() -> Corpus:
    """Return a seeded sample of the paragraphs of the language reference in ``pydoc_data``.

    Raises CorpusError if this Python was installed without it.
    """
    try:
        topics = import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise CorpusError("corpus pydoc: this Python was installed without pydoc_data; choose another") from error
    pieces = [
        (topic, paragraph.strip())
        for topic, text in sorted(topics.items())
        for paragraph in text.split("\n\n")
        if len(paragraph) > 200
    ]
    return _sampled("pydoc", sorted(set(pieces)), language="en")


def _sampled(name: str, pieces: list[tuple[str, str]], language: str) -> Corpus:
    if not pieces:
        raise CorpusError(f"corpus {name}: this Python was installed without the files it is read from")
    chosen = random.Random(0).sample(pieces, min(SAMPLE, len(pieces)))
    version = platform.python_version()
    return Corpus(name, tuple(Document(text, f"Python {version}, {where}", language, name) for where, text in chosen))
