"""A probe corpus: words for numbers, and other words of the same length and ending, in the same sentences.

The unit of analysis is the word type, read at its last token: a word of several tokens is one observation, and a
repeated sentence none. The other words were chosen by hand to look like those for numbers (``seven`` and ``raven``,
``sixtieth`` and ``breath``), so that a neuron that responds to spelling sees no difference.
"""

from __future__ import annotations

from pytest_unineuron.corpora.corpus import Corpus, Document, Mark

NUMBERS = tuple(
    """
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen first
second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth
eightieth ninetieth hundredth thousandth millionth once twice thrice double triple single half quarter
couple pair score twofold threefold fourfold fivefold sixfold sevenfold tenfold hundredfold zero billion
trio twain dual
""".split()
)

OTHERS = tuple(
    """
bone toe tree door hive fix raven weight pine pen heaven valve canteen velveteen tureen colleen evergreen
careen smithereen bounty dirty haughty thrifty frosty vanity mighty anxiety kindred husband pavilion frozen
thirst reckoned bird south filth month warmth wealth truth tent strength length labyrinth breath growth
cloth moth path mouth north youth tooth sabbath sheath wreath hearth hyacinth birth mirth ounce mice trance
trouble ripple jungle calf quarrel cobble chair store blindfold scaffold marigold household foothold
stronghold freehold threshold hero stallion trowel train moral
""".split()
)

# Two sets, so that a finding is confirmed in sentences other than those in which it was made. The full stop after the
# word is for models that read in both directions.
TEMPLATES = (
    (
        "We had heard about the {}.",
        "In his letter he wrote of {}.",
        "They looked again and saw {}.",
        "The captain told us of {}.",
        "After the winter came the {}.",
        "My brother asked me for {}.",
    ),
    (
        "At the end of the road stood {}.",
        "Nobody believed in the {}.",
        "She opened the door to {}.",
        "On the table lay {}.",
        "All that he remembered was {}.",
        "The old book began with {}.",
    ),
)

WORDS = NUMBERS + OTHERS
NAME = "number-words"
TOKENS_OF_PAIR = 5_000
"""About how many tokens all words have in one sentence of each set, with a small vocabulary."""


def sentences_within(budget: int) -> int:
    """Return the number of sentences of each set, at least one, that a budget of tokens allows every word to be in."""
    return max(1, min(len(TEMPLATES[0]), budget // TOKENS_OF_PAIR))


def corpus(sentences: int = len(TEMPLATES[0])) -> Corpus:
    """Return a document for every word in the first ``sentences`` sentences of each set.

    The label of a word is its index in ``WORDS``, plus the number of words in the second set of sentences.
    """
    documents = []
    for half, templates in enumerate(TEMPLATES):
        for template in templates[:sentences]:
            start = template.index("{}")
            for number, word in enumerate(WORDS):
                mark = Mark(start, start + len(word), half * len(WORDS) + number)
                documents.append(Document(template.format(word), "written for pytest-unineuron", "en", marks=(mark,)))
    return Corpus(NAME, tuple(documents), labels=WORDS * 2)
