"""A probe corpus: texts of the kinds and lengths that the public evaluations of the paper's repository read.

The texts themselves were written for this package, or are the beginnings of bundled documents, since those of the runs
were not all published. Texts are read in named sets, and statistics are over one set at a time: a single text where a
run printed a value per text, all texts together where it joined them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from pytest_unineuron.corpora.corpus import Corpus, Document, Mark
from pytest_unineuron.corpora.find import find_corpus

if TYPE_CHECKING:
    from pytest_unineuron.corpora.blocks import Blocks

NAME = "public-texts"
TOKENS = 9_000
"""About how many tokens the texts have, with a small vocabulary."""
LONGEST = 500
"""Characters of the texts that eval3 read."""

SINGLE = {
    "prompt": (
        "The capital of France",
        "Once upon a time there",
        "Mathematics is beautiful",
    ),
    "news": (
        "The central bank raised its interest rate by a quarter of a point on Tuesday, as most analysts had expected.",
        "Thousands of people gathered in the capital to protest against the new law.",
        "Researchers announced a new battery that charges in five minutes and lasts for years.",
    ),
    "code": (
        "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
        "import numpy as np\nx = np.zeros((3, 3))",
        "for item in items:\n    print(item.name)",
    ),
    "multilingual": (
        "Le conseil municipal a décidé hier soir de construire une nouvelle école.",
        "Die Regierung hat am Montag einen neuen Plan für die Bahn vorgestellt.",
        "El museo abrirá sus puertas al público el próximo domingo por la mañana.",
    ),
    "numbers": (
        "There are 24 hours in a day and 60 minutes in an hour, so a day has 1440 minutes.",
        "There are many people in the town and few houses by the river, so the streets are crowded.",
    ),
    "style": (
        "hey, are you coming tonight? bring some snacks, we are starting the film at eight",
        "To reset the device, hold the power button for ten seconds and wait until the light turns green.",
        "The old lighthouse keeper climbed the stairs once more, listening to the storm beat against the glass.",
        "cannot believe it is already friday, this week went by so fast, who else needs a coffee right now",
        "Stir the flour into the melted butter, then add the milk slowly and simmer until the sauce is thick.",
    ),
    "symbols": (
        "a b c d e f g h i j",
        "1 2 3 4 5 6 7 8 9 0",
        "x x x x x x x x x x",
    ),
    "letter": tuple(f"This line has the letter {letter} and repeats it: {4 * letter}" for letter in "ABCXZ"),
    "capital letter": (
        "The ALPS were covered with snow in May.",
        "Berlin elected a new mayor on Sunday.",
        "Canada sold more wheat than ever before.",
    ),
    "small letter": (
        "The apples were ripe by the end of summer.",
        "bakers get up long before the sun rises.",
        "candles stood in every window of the house.",
    ),
}
"""Texts that are sets of their own, by kind: eval3 read the last three, eval1 the two before, eval1_new the others."""

JOINED = {
    "one first word": (
        "The dog ran across the wet grass.",
        "The teacher closed the book and smiled.",
        "The train left before the sun rose.",
    ),
    "paragraphs": (
        "In quantum mechanics the state of a system is described by a wave function, whose squared modulus gives the "
        "probability of each outcome of a measurement. Two observables that do not commute cannot both be known "
        "exactly, and the product of their uncertainties is bounded from below by a constant of nature.",
        "The tenant shall pay the rent in advance on the first day of each month. If any payment is more than ten days "
        "late, the landlord may give written notice, and the tenant then has fourteen days to pay the full amount or "
        "to leave the premises. No waiver of this clause is valid unless both parties have signed it.",
        "The function returns a tensor of the same shape as its input, in which every element is replaced by the sum "
        "of all elements before it along the given dimension. If the argument out is given, the result is written to "
        "that tensor, which has to have the right shape and type. Gradients flow through all inputs.",
        "Average temperatures in the region have risen by almost two degrees since records began. Glaciers have lost "
        "half of their volume, and the snow melts three weeks earlier than it did. Farmers plant other crops, and the "
        "towns along the rivers build higher walls against floods that used to come once in a century.",
        "She put the letter back into its envelope and looked out at the harbour, where the last of the fishing boats "
        "was coming in. Nobody had written to her in eleven years. The kettle began to sing in the kitchen, but she "
        "did not move; she was trying to remember the sound of his voice, and found that she could not.",
    ),
    "three topics": (
        "The telescope recorded the light of a galaxy that formed less than a billion years after the beginning of "
        "the universe. Its stars are poor in metals, and hydrogen around it glows in the ultraviolet.",
        "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"
        "        self.items.append(item)\n\n    def pop(self):\n        return self.items.pop()",
        "The minister resigned on Wednesday after two newspapers reported that he had accepted gifts from a building "
        "company. The prime minister thanked him for his service and named no successor.",
    ),
}
"""Texts that are read as one set: three sentences of eval1, the paragraphs of eval2, and the three texts of eval3."""

BY_WORD = ("style", "symbols", "one first word", "letter", "capital letter", "small letter")
"""The kinds of text that eval1 and eval3 read token by token."""
WORDS = 16
"""The number of first words of these texts that have a label: their place in the text, from 0."""

BUNDLED = {"twenty of prose": "prose", "twenty of news": "news"}
"""Sets of the beginnings of twenty bundled documents, in place of the Pile and of AG News in eval3."""


@cache
def sets() -> dict[str, tuple[str, ...]]:
    """Return the texts of every set, by its name; a text that is a set of its own is ``news 1``."""
    single = {f"{kind} {n}": (text,) for kind, texts in SINGLE.items() for n, text in enumerate(texts, start=1)}
    begun = {
        name: tuple(document.text[:LONGEST] for document in find_corpus(corpus).documents[:20])
        for name, corpus in BUNDLED.items()
    }
    return single | JOINED | begun


def corpus() -> Corpus:
    """Return a document for every text, in the order of the sets."""
    texts = [(text, name) for name, of_set in sets().items() for text in of_set]
    documents = (
        Document(text, "written for pytest-unineuron", domain=name, marks=_marks(text, name)) for text, name in texts
    )
    return Corpus(NAME, tuple(documents), labels=tuple(f"word {n}" for n in range(WORDS)))


def _marks(text: str, name: str) -> tuple[Mark, ...]:
    """The first words of a text, if it is one that was read token by token."""
    if name not in BY_WORD and name.rpartition(" ")[0] not in BY_WORD:
        return ()
    words = list(re.finditer(r"\S+", text))[:WORDS]
    return tuple(Mark(*word.span(), number) for number, word in enumerate(words))


def in_sets(blocks: Blocks) -> Blocks:
    """Return the same blocks, in which the texts of each set are a group of their own, in the order of the sets."""
    names = list(dict.fromkeys(document.domain for document in blocks.corpus.documents))
    of_document = [names.index(document.domain) for document in blocks.corpus.documents]
    made = tuple(replace(block, document=of_document[block.document]) for block in blocks.blocks)
    return replace(blocks, blocks=made, groups=len(names))


def one_by_one(blocks: Blocks, kind: str) -> Blocks:
    """Return those of the blocks in sets that are of a kind, or of one set, each as a group of its own."""
    names = list(sets())
    chosen = [
        block for block in blocks.blocks if kind in (names[block.document], names[block.document].rpartition(" ")[0])
    ]
    made = tuple(replace(block, document=number) for number, block in enumerate(chosen))
    return replace(blocks, blocks=made, groups=len(made), sinks=())
