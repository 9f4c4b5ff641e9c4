"""Corpora that are no independent evidence: copies, repetition, and new data that is not new."""

import json
import re

import pytest

from pytest_unineuron import corpora
from pytest_unineuron.corpora.find import find_corpus

READS = """
@pytest.mark.gt1(source="x")
def test_reference(unineuron_neurons):
    measure("documents", unineuron_neurons.documents, above=0)

@pytest.mark.gt2(source="x")
def test_new(unineuron_neurons):
    measure("documents", unineuron_neurons.documents, above=0)
    measure("groups", unineuron_neurons.groups, above=0)
    measure("tokens", unineuron_neurons.tokens, above=0)
"""
WHOLE, NEW = "--unineuron-tokens=90000", ("-k", "new")
RUN = (
    "--unineuron-model=nano:neox-a",
    "--unineuron-controls=none",
    "--unineuron-fail-on=never",
    "--unineuron-tokens=4000",
)


def texts(name):
    return [document.text for document in find_corpus(name).documents]


@pytest.fixture
def run(trials, nano_modules):
    """A function that runs the trials on a corpus of some texts, and returns the run."""

    def run_on(documents, *options, name="new.jsonl"):
        lines = [json.dumps(document if isinstance(document, dict) else {"text": document}) for document in documents]
        (trials.path / name).write_text("\n".join(lines), encoding="utf-8")
        return trials.write(READS).run(*RUN, f"--unineuron-corpus={name}", *options)

    return run_on


def measured(found, name):
    """The numbers of a trial, by name."""
    (case,) = found.trial(name)["subjects"]["neox-a"]["cases"]
    return {each["name"]: each["value"] for each in case["subject"]["measurements"]}


def test_copies_count_once(run):
    """Four documents, written 25 times in other case and white space, are four, in four groups."""
    spelled = (str, str.upper, lambda text: text.replace(" ", "  "), lambda text: text.replace(" ", "\r\n"), str.lower)
    found = run([write(text) for write in spelled * 5 for text in texts("news")[:4]], WHOLE, *NEW)
    assert measured(found, "new[new]") | {"tokens": 0} == {"documents": 4, "groups": 4, "tokens": 0}
    facts = found.report["corpora"]["new"]
    assert (facts["documents"], facts["copies"]) == (4, 96)
    found.result.stdout.fnmatch_lines(["COPIES: 96 documents of new are copies of others and count as one with these"])


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        (["the the the"] * 300, "the text repeats itself: 299 of its 300 documents are copies"),
        (
            ["so it goes on and on, and " * 40] * 2 + ["and on and so it goes and on, " * 40],
            "the text repeats itself: 9",
        ),
    ],
)
def test_a_text_that_repeats_itself_is_not_measured(run, documents, reason):
    """Trials on it are NA, without a forward pass; those on the reference are measured."""
    found = run(documents)
    assert found.outcome("new[new]") == "NA"
    assert found.reason("new[new]").startswith(reason)
    assert measured(found, "reference[prose]")["documents"] > 25
    assert found.report["forward_passes"] == 1
    assert found.ret == 0


def test_a_reference_that_repeats_itself_is_not_measured(run):
    """Whatever it is used for."""
    found = run(["the the the"] * 300, "--unineuron-reference=new.jsonl", "--unineuron-corpus=news")
    assert found.reason("reference[new]").startswith("the text repeats itself: ")


def test_the_reference_under_another_name_is_not_new(run):
    """In other case and order. Documents that are read in part end in part of a word."""
    found = run([text.upper() for text in reversed(texts("prose"))])
    assert found.outcome("new[new]") == "NA"
    reason = r"not new data: (9\d\.\d|100) % of its 13-word sequences .* are in the reference corpus prose; name"
    assert re.match(reason, found.reason("new[new]"))


def test_half_of_the_reference_is_not_new(run):
    """Even where little of both is read."""
    mixed = [text for pair in zip(texts("prose"), texts("news"), strict=False) for text in pair]
    found = run(mixed, "--unineuron-tokens=3000")
    assert found.outcome("new[new]") == "NA"
    assert found.reason("new[new]").startswith("not new data: ")


def test_the_same_corpus_as_both_is_not_new(run, trials):
    """By its name, by another path, and where another file of the same name is the reference."""
    found = run(texts("news"), "--unineuron-reference=new.jsonl")
    assert found.outcome("new[new]") == "NA"
    assert measured(found, "reference[new]")["documents"] > 10
    assert found.reason("new[new]").startswith("not new data: new is the reference corpus; name another")
    found = run(texts("news"), "--unineuron-reference=./new.jsonl")
    assert found.reason("new[new.jsonl]").startswith("not new data: 99.")
    (trials.path / "old").mkdir()
    (trials.path / "old/new.jsonl").write_bytes((corpora.BUNDLED / "prose.jsonl").read_bytes())
    found = run(texts("news"), "--unineuron-reference=old/new.jsonl")
    facts = found.report["corpora"]
    assert facts["new.jsonl"]["fingerprint"] == find_corpus("news").fingerprint
    assert facts["old/new.jsonl"]["fingerprint"] == find_corpus("prose").fingerprint
    assert measured(found, "new[new.jsonl]")["documents"] > 10


def test_facts_are_about_what_was_read(run):
    """A third of the tokens is of the whole corpus, but not all of it; the fingerprint is that of the corpus."""
    english = [{"text": text, "language": "en"} for text in texts("news")[::3]]
    others = [vars(document) for document in find_corpus("multilingual").documents[:40]]
    rows = [*english, *({"text": row["text"], "language": row["language"]} for row in others)]
    found = run(rows, "--unineuron-tokens=6000", *NEW)
    facts, numbers = found.report["corpora"]["new"], measured(found, "new[new]")
    assert facts["languages"] == ["de", "en", "es", "fr"]
    assert facts["documents"] == numbers["documents"] < len(rows)
    assert facts["tokens"] == {"neox-a": 6000} == {"neox-a": numbers["tokens"]}
    words = sum(len(row["text"].split()) for row in rows)
    assert 0.2 * words < facts["words"] < 0.5 * words
    whole = run(rows, WHOLE, *NEW).report["corpora"]["new"]
    assert (whole["documents"], whole["words"]) == (len(rows), words)
    assert facts["fingerprint"] == whole["fingerprint"]
