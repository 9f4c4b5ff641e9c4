"""Find the corpus that an option names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.corpora import BUNDLED, GENERATED, corpus_names
from pytest_unineuron.corpora.checked import checked
from pytest_unineuron.corpora.text import file_format, from_path, name_without_suffixes
from pytest_unineuron.errors import CharacterError, CorpusError, did_you_mean
from pytest_unineuron.extend.table import load
from pytest_unineuron.system.paths import beside, cached_hub_id, typed

if TYPE_CHECKING:
    from pytest_unineuron.corpora.corpus import Corpus


def check_spec(spec: str) -> None:
    """Raise CorpusError if ``spec`` can be neither a known name, a path that exists, nor a data set of the Hub."""
    if spec in corpus_names() or Path(spec).expanduser().exists():
        return
    if spec.startswith((".", "/", "~")) or file_format(Path(spec)) or "/" not in spec:
        path = Path(spec).expanduser()
        near = did_you_mean(spec, corpus_names()) or did_you_mean(str(path), beside(path))
        raise CorpusError(
            f"corpus {spec}: no such corpus, file or folder; known by name: {', '.join(corpus_names())} "
            f"(a data set of the hub is named OWNER/NAME){near}"
        )


def check_readable(spec: str, *, field: str) -> None:
    """Raise CorpusError if ``spec`` is a file or folder that cannot be read as a corpus.

    A document that is no text is left to the trials on this corpus.
    """
    if spec not in corpus_names() and Path(spec).expanduser().exists():
        with suppress(CharacterError):
            find_corpus(spec, field=field)


def find_corpus(spec: str, *, field: str = "text") -> Corpus:
    """Read the corpus that ``spec`` names: a bundled or generated one, a path, or a data set of the Hub.

    ``field`` is the field of the text in JSON lines and data sets. Raises CorpusError if there is no such corpus or it
    cannot be read.
    """
    check_spec(spec)
    if spec in GENERATED:
        made: Corpus = load(GENERATED[spec])()
        documents = (checked(f"corpus {spec}: document {n}", each) for n, each in enumerate(made.documents, start=1))
        return replace(made, documents=tuple(documents))
    bundled = BUNDLED / f"{spec}.jsonl"
    if bundled.exists():
        return from_path(spec, bundled)
    path = Path(spec).expanduser()
    if path.exists():
        return from_path(corpus_label(spec), path, field=field)
    from pytest_unineuron.corpora.hub import from_hub

    return from_hub(spec, field=field)


def corpus_label(spec: str) -> str:
    """Return the short name of a corpus: that of a file or folder as it was typed, its hub id, or the name itself."""
    path = Path(spec).expanduser()
    if spec in corpus_names() or not path.exists():
        return spec
    if path.is_dir():
        return cached_hub_id(path, "datasets") or typed(path).name
    return name_without_suffixes(typed(path))


def corpora_by_label(specs: tuple[str, ...]) -> dict[str, str]:
    """Return specs by label, in order. Paths with the same short name have their whole spec as a label.

    Raises CorpusError for a spec that cannot name a corpus.
    """
    for spec in specs:
        check_spec(spec)
    short = [corpus_label(spec) for spec in specs]
    return {name if short.count(name) == 1 else spec: spec for name, spec in zip(short, specs, strict=True)}
