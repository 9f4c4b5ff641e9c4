"""Copies among documents, text that repeats itself, and text that another corpus has."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.corpora.copies import COMMON, first_copies, repeated_share, share_found_in, words
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.corpora.independence import reason_known, reason_repetitive
from pytest_unineuron.corpora.number_words import corpus as number_words

SHIPPED = ("prose", "news", "code", "multilingual")
SENTENCE = "The boat that we had seen the day before was in the harbour again, and nobody was on it."


def text(seed, count, vocabulary=5000):
    """Random words."""
    drawn = random.Random(str(seed))
    return " ".join(f"w{drawn.randrange(vocabulary)}" for _ in range(count))


def corpus(texts):
    return Corpus("test", tuple(map(Document, texts)))


def texts_of(name):
    return [document.text for document in find_corpus(name).documents]


@pytest.mark.parametrize(
    "spelled",
    [
        SENTENCE.upper(),
        SENTENCE.replace(" ", "\r\n"),
        f"\t{SENTENCE}  \n",
        SENTENCE.replace(" ", "\u00a0\u2003"),
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in SENTENCE),  # full width
        "\u00ad".join(SENTENCE),
        SENTENCE.replace("e", "e\u200b"),
        SENTENCE.replace("on it.", "on board."),
        SENTENCE.replace(",", ""),
        f"{text(0, 60)} {SENTENCE} {text(1, 60)}",
    ],
)
def test_a_copy_in_another_spelling_or_place_is_found(spelled):
    """Case, white space, line ends and widths make no difference, nor a word of many, nor other text around it."""
    assert first_copies(["Before.", SENTENCE, text(2, 80), spelled]) == (0, 1, 2, 1)


def test_texts_of_few_words_are_copies_only_if_equal():
    """With their punctuation, as in code."""
    assert first_copies(["a = b", "a + b", "A =\tb", "???", "!!!", "x", "x y", "???"]) == (0, 1, 0, 3, 4, 5, 6, 3)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=7).map(" ".join), min_size=1, max_size=8))
def test_texts_of_fewer_than_eight_words_are_never_near_copies(lines):
    """Neither of one another nor of a text that has them: they are phrases."""
    longer = f"{text(18, 20)} {' '.join(lines)} {text(19, 20)}"
    assert first_copies([longer, *lines]) == (0, *(1 + lines.index(line) for line in lines))


SHORT = "Nobody was on the boat when we saw it."


@pytest.mark.parametrize(
    "near", [SHORT.replace(".", "!"), f"{SHORT} Really.", f"Well, {SHORT}", f"{text(0, 60)} {SHORT} {text(1, 60)}"]
)
def test_a_near_copy_of_a_short_text_is_found(near):
    """With other punctuation, or inside of another text."""
    unrelated = ["Nobody was on the boat.", "Nobody was on the ship when he saw us.", "The boat that we saw was empty."]
    assert first_copies([SHORT, *unrelated, near]) == (0, 1, 2, 3, 0)


def test_half_of_the_sequences_is_not_enough():
    """Of 40 sequences of the shorter text, 20 make no copy, and 21 do."""
    shorter, longer = text(3, 52).split(), text(4, 300)
    for shared, copies in ((32, (0, 1)), (33, (0, 0))):
        other = f"{longer} {' '.join(shorter[:shared])} end"
        assert first_copies([" ".join(shorter), other]) == copies


def test_copies_are_joined_through_others():
    """The first and the last text share nothing, but each shares most of one of two halves in the middle."""
    one, other = text(5, 40), text(6, 40)
    assert first_copies([one, other, text(7, 40), f"{one} {other}"]) == (0, 0, 2, 0)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=12), st.randoms())
def test_copies_are_those_of_the_definition(passages, drawn):
    """Compared with sets of sequences of words, and with joining one text after the other."""
    texts = [" ".join(text((passage, part), 9 + 5 * part) for part, passage in enumerate(each)) for each in passages]
    drawn.shuffle(texts)
    split = [each.split() for each in texts]
    by_length = {n: [{tuple(each[i : i + n]) for i in range(len(each) - n + 1)} for each in split] for n in (8, 13)}
    cluster = list(range(len(texts)))

    def join(i, j):
        low, high = sorted((cluster[i], cluster[j]))
        cluster[:] = [low if number == high else number for number in cluster]

    for i, each in enumerate(split):
        found = by_length[8 if len(each) < 13 else 13]
        own = found[i]
        for j in range(i):
            if split[i] == split[j]:
                join(i, j)
        longer = [j for j, other in enumerate(found) if (len(other), -j) > (len(own), -i) and split[i] != split[j]]
        if longer:
            best = max(longer, key=lambda j: (len(own & found[j]), len(found[j]), -j))
            if 2 * len(own & found[best]) > len(own):
                join(i, best)
    assert first_copies(texts) == tuple(cluster)


def test_many_near_copies_are_one_document():
    """More of them than a sequence has pairs listed for."""
    base = text(8, 100).split()
    copies = [" ".join([*base[:place], "other", *base[place + 1 :]]) for place in range(100)] * 2
    copies = [f"{copy} {number}" for number, copy in enumerate(copies)]
    assert len(copies) > COMMON
    assert set(first_copies(copies)) == {0}


@pytest.mark.parametrize("count", [20, COMMON + 50])
def test_a_passage_that_many_documents_have_makes_no_copies(count):
    """A licence before every file of a project is less than half of each; alone, it is a copy of one of them."""
    licence = text(9, 60)
    files = [f"{licence} {text((9, number), 80 + number % 7)}" for number in range(count)]
    assert first_copies(files) == tuple(range(count))
    assert first_copies([*files, files[7] + " more"])[-1] == 7
    *others, alone = first_copies([*files, licence])
    assert others == list(range(count))
    assert alone < count


@pytest.mark.parametrize(
    ("written", "units"),
    [
        ("don't x_1 += 2.5e-3", ["don", "t", "x_1", "2", "5e", "3"]),
        ("我们去。カタカナ", list("我们去カタカナ")),
        ("नमस्ते, दुनिया।", ["नमस्ते", "दुनिया"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        (unicodedata.normalize("NFD", "Ünïcode"), [unicodedata.normalize("NFD", "Ünïcode")]),
    ],
)
def test_words_are_units_of_every_script(written, units):
    """Marks belong to their letters; a script without spaces has smaller units than words."""
    assert words(written) == units


def test_copies_in_scripts_without_spaces_are_found():
    """A sentence of such a script is more than one word."""
    chinese = "昨天我们看到的那条船又停在港口里了，船上一个人也没有，谁也不知道它从哪里来。"
    thai = "เรือที่เราเห็นเมื่อวานกลับมาอยู่ในท่าเรืออีกครั้งและไม่มีใครอยู่บนเรือเลย"
    for written in (chinese, thai):
        assert first_copies([written, written[1:] + "!", written[::-1]]) == (0, 0, 2)
        assert share_found_in([written], [f"x {written} y"]) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_a_corpus_that_ships_is_evidence(name):
    """It has no copies, hardly repeats itself, and shares nothing with the reference or any other."""
    found = find_corpus(name)
    assert first_copies(texts_of(name)) == tuple(range(len(found.documents)))
    assert repeated_share(texts_of(name)) < 0.01
    assert reason_repetitive(found) == ""
    for other in SHIPPED:
        known = share_found_in(texts_of(name), texts_of(other))
        assert known == 1 if other == name else known < 0.001
        assert bool(reason_known(found, find_corpus(other), other)) == (other == name)


def test_the_probe_of_number_words_has_no_copies():
    """Every sentence of it is another document."""
    assert set(number_words().copy_of) == set(range(len(number_words().documents)))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["the the the"] * 300, r"299 of its 300 documents are copies of another"),
        (["the " * 300, "a " * 200 + "end"], r"99.\d % of its 8-word sequences are repeats of earlier ones; name"),
        ([f"{text(11, 30)} " * 9, *[text(12, 40)] * 3], r"7\d.\d % of .*left out: 2\); name"),
        ([text(13, 30) + "." + text(14, 40), text(13, 30)], "1 of its 2 documents are copies"),
        ([text(15, 300, vocabulary=2)] * 2, "1 of its 2 documents are copies"),
        ([text(seed, 300, vocabulary=2) for seed in range(20)], r"9\d.\d % of its 8-word sequences"),
    ],
)
def test_a_text_that_repeats_itself_is_no_evidence(texts, reason):
    """The reason has the figures."""
    assert reason_repetitive(corpus(texts)).startswith("the text repeats itself: ")
    assert re.search(reason, reason_repetitive(corpus(texts)))


def test_a_text_that_repeats_less_than_half_is_evidence():
    """A chorus after every verse, and short documents, which are each a sequence."""
    chorus = text(16, 20)
    assert reason_repetitive(corpus([f"{text(17 + verse, 30)} {chorus}" for verse in range(8)])) == ""
    assert reason_repetitive(corpus(["one", "two three", "???"])) == ""


@pytest.mark.parametrize("mixed", [0.02, 0.1, 0.5, 1])
def test_new_data_with_parts_of_the_reference_is_not_new(mixed):
    """In other spelling and order, from one document in ten on."""
    reference = texts_of("prose")
    part = [each.upper().replace(" ", "\r\n") for each in reference[: int(mixed * 100)]]
    random.Random(0).shuffle(part)
    made = corpus([*part, *texts_of("news")[: 100 - len(part)]])
    reason = reason_known(made, corpus(reference), "./old.txt")
    assert bool(reason) == (mixed > 0.05)
    if reason:
        assert reason.startswith("not new data: ")
        assert " % of its 13-word sequences (8-word ones of shorter documents) are in the reference " in reason
        assert reason.endswith("corpus ./old.txt; name another with --unineuron-corpus")


@pytest.mark.parametrize("count", [8, 12, 13])
def test_the_reference_cut_into_short_documents_is_not_new(count):
    """Not even where no document has a sequence of 13 words; another text cut up in the same way is new."""

    def cut(name):
        units = [text.split() for text in texts_of(name)[:20]]
        return [" ".join(each[at : at + count]) for each in units for at in range(0, len(each) - count + 1, count)]

    assert share_found_in([text for text in cut("prose") if len(words(text)) >= 8], texts_of("prose")) == 1
    assert share_found_in(cut("news"), texts_of("prose")) < 0.001
    assert 0 < share_found_in([*cut("prose"), *texts_of("news")], texts_of("prose")) < 1  # both kinds count


def test_short_documents_of_the_reference_are_not_new():
    """Each of them is one sequence, as it is written."""
    lines = [f"Line {number}." for number in range(40)]
    assert share_found_in([line.lower() for line in lines[:10]], lines) == 1
    assert share_found_in([line + "!" for line in lines[:10]], lines) == 0
