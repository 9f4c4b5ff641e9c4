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
from pytest_unineuron.system.paths import cached_hub_id, did_you_mean_path, status_of, typed

if TYPE_CHECKING:
    from pytest_unineuron.corpora.corpus import Corpus


def check_spec(spec: str) -> None:
    """Raise CorpusError if ``spec`` can be neither a known name, a path that exists, nor a data set of the Hub."""
    if spec in corpus_names() or _existing_path(spec):
        return
    if spec.startswith((".", "/", "~")) or file_format(Path(spec)) or "/" not in spec:
        path = Path(spec).expanduser()
        near = did_you_mean(spec, corpus_names()) or did_you_mean_path(path)
        raise CorpusError(
            f"corpus {spec}: no such corpus, file or folder; known by name: {', '.join(corpus_names())} "
            f"(a data set of the hub is named OWNER/NAME){near}"
        )


def check_readable(spec: str, *, field: str) -> None:
    """Raise CorpusError if ``spec`` is a file or folder that cannot be read as a corpus.

    A document that is no text is left to the trials on this corpus.
    """
    if spec not in corpus_names() and _existing_path(spec):
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
    if path := _existing_path(spec):
        return from_path(corpus_label(spec), path, field=field)
    from pytest_unineuron.corpora.hub import from_hub

    return from_hub(spec, field=field)


def corpus_label(spec: str) -> str:
    """Return the short name of a corpus: that of a file or folder as it was typed, its hub id, or the name itself."""
    path = None if spec in corpus_names() else _existing_path(spec)
    if path is None:
        return spec
    if path.is_dir():
        return cached_hub_id(path, "datasets") or typed(path).name
    return name_without_suffixes(typed(path))


def _existing_path(spec: str) -> Path | None:
    """The path of the file or folder that ``spec`` names, or None if there is none. Raises CorpusError."""
    try:
        path = Path(spec).expanduser()
        return None if status_of(path) is None else path
    except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be read, no such user
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"corpus {spec}: cannot be looked up ({reason}); give the whole path of a file") from None


def corpora_by_label(specs: tuple[str, ...]) -> dict[str, str]:
    """Return specs by label, in order. Paths with the same short name have their whole spec as a label.

    Raises CorpusError for a spec that cannot name a corpus.
    """
    for spec in specs:
        check_spec(spec)
    short = [corpus_label(spec) for spec in specs]
    return {name if short.count(name) == 1 else spec: spec for name, spec in zip(short, specs, strict=True)}
