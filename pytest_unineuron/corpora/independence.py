"""Whether a corpus is text to measure on, and new data beside another: neither repeats itself nor what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.corpora.copies import COPY_WORDS, REPEAT_WORDS, repeated_share, share_found_in

if TYPE_CHECKING:
    from pytest_unineuron.corpora.corpus import Corpus

MAX_REPEATED = 0.5
"""The share of repeated sequences from which on a text is not mostly new to itself; prose has under 1 %."""
MAX_KNOWN = 0.05
"""The share of sequences in the reference from which on a corpus is not new data; the corpora that ship share none."""


def reason_repetitive(corpus: Corpus) -> str:
    """Return why a corpus is no text to measure on: most of it repeats the rest. Empty for one that is."""
    documents = [document.text for document in corpus.distinct]
    copies, count = len(corpus.documents) - len(documents), len(corpus.documents)
    if len(documents) < 2:
        return f"the text repeats itself: {copies} of its {count} documents are copies of another; name another corpus"
    repeated = repeated_share(documents)
    if repeated < MAX_REPEATED:
        return ""
    left_out = f" (copies of documents, left out: {copies})" if copies else ""
    return (
        f"the text repeats itself: {100 * repeated:.3g} % of its {REPEAT_WORDS}-word sequences are repeats of earlier "
        f"ones{left_out}; name another corpus"
    )


def reason_known(corpus: Corpus, reference: Corpus, name: str) -> str:
    """Return why a corpus is not new data beside a reference corpus of this name; empty for one that is new."""
    texts = ([document.text for document in each.documents] for each in (corpus, reference))
    known = share_found_in(*texts)
    if known < MAX_KNOWN:
        return ""
    return (
        f"not new data: {100 * known:.3g} % of its {COPY_WORDS}-word sequences ({REPEAT_WORDS}-word ones of shorter "
        f"documents) are in the reference corpus {name}; name another with --unineuron-corpus"
    )
