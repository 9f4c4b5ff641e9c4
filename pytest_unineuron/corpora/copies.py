"""Copies among documents, and text that repeats itself or another corpus, found by their sequences of words.

Texts are compared after Unicode NFKC and case folding, with white space and line ends collapsed. Sequences of 13 words
are what contamination checks of language models compare (Brown et al. 2020, appendix C): shorter ones are common
phrases. Within one text, 8 words show a repetition. A document of 8 to 12 words has no longer sequence, so it is
compared by those of 8, with other corpora too; one of fewer words is a phrase, and a copy only of an equal one.

Words are runs of letters, digits and marks; punctuation is left out, so that code is compared by its names and numbers.
A sentence of a script without spaces would be one long word, so there the unit is smaller: one ideograph or kana, of
which 13 are about eight words, or a consonant of Thai, Lao, Burmese or Khmer with the signs around it, about five.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COPY_WORDS, REPEAT_WORDS = 13, 8
"""The length of the sequences by which copies are found, within a corpus or between two, and repetitions."""
COMMON = 100
"""The most documents that a sequence is looked up in."""

_IDEOGRAPHS = r"\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CONSONANTS = r"\u0e01-\u0e2e\u0e81-\u0eae\u1000-\u102a\u1780-\u17b3"
_SIGNS = r"\u0e2f-\u0e4e\u0eaf-\u0ece\u102b-\u103e\u1050-\u109d\u17b4-\u17d3\u17dd"
_MARKS = r"\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_LETTERS = rf"[^\W{_IDEOGRAPHS}{_CONSONANTS}{_SIGNS}{_MARKS}]"  # \w lacks the marks of most scripts
_WORD = re.compile(
    rf"{_LETTERS}+(?:[{_MARKS}]+{_LETTERS}*)*|(?:[{_MARKS}]+{_LETTERS}*)+"
    rf"|[{_IDEOGRAPHS}]|[{_CONSONANTS}][{_SIGNS}]*|[{_SIGNS}]+"
)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


_UNSEEN = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
"""Soft hyphens, joiners and spaces of no width: no reader sees them."""


def normalised(text: str) -> str:
    """Return a text in which case, line ends, the width of spaces and compatible characters make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_UNSEEN)).casefold().split())


def words(text: str) -> list[str]:
    """Return the units of a text that sequences are made of.

    >>> words("x_1 += 你好, नमस्ते!")
    ['x_1', '你', '好', 'नमस्ते']
    """
    return _WORD.findall(text)


def sequences(text: str, size: int) -> NDArray[np.uint64]:
    """Return a hash of each sequence of ``size`` words in a text, in order; a shorter text is one sequence.

    Hashes differ between processes, and are only compared within one.
    """
    text = normalised(text)
    hashed = np.fromiter(map(hash, words(text)), dtype=np.int64).view(np.uint64)
    count = len(hashed) - size + 1
    if count < 1:  # with its punctuation: "a = b" is no copy of "a + b"
        return np.array([hash(text)], dtype=np.int64).view(np.uint64)
    found = np.zeros(count, dtype=np.uint64)
    for place in range(size):
        found = found * _FACTOR + hashed[place : place + count]
    return found


def repeated_share(texts: Sequence[str]) -> float:
    """Return the share of the sequences of ``REPEAT_WORDS`` words in some texts that are repeats of earlier ones."""
    found = [sequences(text, REPEAT_WORDS) for text in texts]
    return 1 - len(_distinct(found)) / sum(map(len, found))


def share_found_in(texts: Sequence[str], others: Sequence[str]) -> float:
    """Return the share of the distinct sequences of some texts that are in others.

    Sequences are of ``COPY_WORDS`` words, and of ``REPEAT_WORDS`` in a text that is shorter.
    """
    by_size: dict[int, list[str]] = {COPY_WORDS: [], REPEAT_WORDS: []}
    for text in texts:
        by_size[REPEAT_WORDS if _is_short(text) else COPY_WORDS].append(text)
    found = []
    for size, part in by_size.items():
        if part:
            own, known = (_distinct([sequences(text, size) for text in each]) for each in (part, others))
            found.append(np.isin(own, known, assume_unique=True))
    return float(np.concatenate(found).mean())


def _is_short(text: str) -> bool:
    """Whether a text has no sequence of ``COPY_WORDS`` words."""
    return sum(1 for _ in islice(_WORD.finditer(normalised(text)), COPY_WORDS)) < COPY_WORDS


def _distinct(hashes: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The distinct hashes, sorted; ``np.unique`` alone takes ten times as long from NumPy 2.3 on."""
    found = np.sort(np.concatenate(hashes))
    return np.asarray(found[np.append(True, found[1:] != found[:-1])])


def first_copies(texts: Sequence[str]) -> tuple[int, ...]:
    """Return for each text the number of the first text that it is a copy of, directly or through others.

    A text is a copy of an equal one after normalising, and of a longer one that has more than half of its distinct
    sequences of ``COPY_WORDS`` words, or of ``REPEAT_WORDS`` where it is shorter: of the one that has most of them. So
    a licence that is a file of its own does not make copies of all files that begin with it. A text that is no copy has
    its own number.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    equal = [first.setdefault(normalised(text), number) for number, text in enumerate(texts)]
    distinct = list(first.values())
    copy, original = _all_near_copies([texts[number] for number in distinct])
    links = coo_array((np.ones(len(copy)), (copy, original)), shape=(len(distinct), len(distinct)))
    cluster = connected_components(links, directed=False)[1]
    leader: dict[int, int] = {}
    leaders = {
        number: leader.setdefault(of_number, number) for number, of_number in zip(distinct, cluster, strict=True)
    }
    return tuple(leaders[number] for number in equal)


def _all_near_copies(texts: Sequence[str]) -> NDArray[np.int64]:
    """The numbers of the texts that are near-copies of a longer one, and those of their originals; [2, copy].

    Texts that are too short for a sequence of ``COPY_WORDS`` words are compared with all others by shorter ones.
    """
    found = [sequences(text, COPY_WORDS) for text in texts]
    pairs = _near_copies(found)
    if all(len(of_text) > 1 for of_text in found):
        return pairs
    found = [sequences(text, REPEAT_WORDS) for text in texts]
    short = np.array([len(of_text) <= COPY_WORDS - REPEAT_WORDS for of_text in found])
    of_short = _near_copies(found)
    return np.concatenate([pairs, of_short[:, short[of_short[0]]]], axis=1)


def _near_copies(found: Sequence[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """The same by the sequences of each text, all of one length.

    Of texts of one length, the first counts as the longest. A sequence that more than ``COMMON`` texts have counts for
    the longest of them alone, so that the number of pairs stays small.
    """
    from scipy.sparse import csr_array

    texts = [_distinct([of_text]) for of_text in found]
    size = np.array([len(of_text) for of_text in texts])
    owner = np.repeat(np.arange(len(texts)), size)
    _, sequence = np.unique(np.concatenate(texts), return_inverse=True)
    order = np.lexsort((owner, -size[owner], sequence))
    owner, sequence = owner[order], sequence[order]
    rank = np.arange(len(sequence)) - np.searchsorted(sequence, sequence)  # among the owners of the same sequence
    longest, shape = rank < COMMON, (len(texts), len(sequence))
    has = csr_array((np.ones(len(owner), dtype=np.int64), (owner, sequence)), shape=shape)
    counts = csr_array((np.ones(longest.sum(), dtype=np.int64), (owner[longest], sequence[longest])), shape=shape)
    pairs = (has @ counts.T).tocoo()
    copy, original, shared = pairs.row, pairs.col, pairs.data
    longer = (size[original] > size[copy]) | ((size[original] == size[copy]) & (original < copy))
    near = longer & (2 * shared > size[copy])
    copy, original, shared = copy[near], original[near], shared[near]
    best = np.lexsort((original, -size[original], -shared, copy))
    first = best[np.append(True, np.diff(copy[best]) > 0)[: len(best)]]
    return np.stack([copy[first], original[first]])
