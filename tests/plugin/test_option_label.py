"""``--unineuron-label``: another name for a model or corpus than the one typed, by which a baseline knows it."""

import shutil

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.zoo import folders

CLAIM = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_claim(unineuron_case, unineuron_corpus):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
BASELINE = "--unineuron-baseline=base.json"


@pytest.fixture
def started(trials, monkeypatch):
    """A baseline of the model ``neox-a`` on ``news``, and the same under the names ``latest`` and ``more.jsonl``."""
    monkeypatch.chdir(trials.path)
    trials.write(CLAIM).run("--unineuron-model=nano:neox-a", "--unineuron-corpus=news")
    assert main(["accept", "--baseline", "base.json"]) == 0
    shutil.copytree(folders()["neox-a"], trials.path / "latest")
    (trials.path / "more.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n', encoding="utf-8")
    return trials


def test_a_model_of_another_name_is_compared_under_its_label(started):
    """Without the option the message names both labels and what to say; with it the case is compared."""
    here = ("--unineuron-model=./latest", "--unineuron-corpus=news", BASELINE)
    found = started.run(*here)
    assert found.ret == 23
    say = "--unineuron-label=neox-a=./latest"
    found.result.stdout.fnmatch_lines(
        [f"Exit status 23: nothing was compared: the model is neox-a in the baseline and latest in this run; *{say}*"]
    )
    found = started.run(*here, "--unineuron-label=neox-a=./latest")
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(["Against the baseline: 1 case: 1 same"])
    assert found.outcome("claim[news]") == "PASS"


def test_a_corpus_of_another_name_is_compared_under_its_label(started):
    """Another text still needs --unineuron-across=corpus."""
    here = (
        "--unineuron-model=nano:neox-a",
        "--unineuron-corpus=more.jsonl",
        BASELINE,
        "--unineuron-label=news=more.jsonl",
    )
    assert started.run(*here).ret == 23
    found = started.run(*here, "--unineuron-across=corpus")
    assert found.ret == 0
    assert found.outcome("claim[news]") == "PASS"


def test_a_label_is_part_of_the_command_that_reproduces_a_case(trials):
    """Only labels of what the command runs are repeated in it."""
    trials.write(CLAIM.replace("0.9", "0.2"))
    asked = ("--unineuron-model=nano:neox-a", "--unineuron-model=nano:gpt2-a", "--unineuron-corpus=news")
    found = trials.run(*asked, "--unineuron-label=one=nano:neox-a", "--unineuron-label=two=nano:gpt2-a", "-n2")
    found.result.stdout.fnmatch_lines_random(
        [
            "  pytest *--unineuron-model=nano:neox-a --unineuron-corpus=news --unineuron-label=one=nano:neox-a",
            "  pytest *--unineuron-model=nano:gpt2-a --unineuron-corpus=news --unineuron-label=two=nano:gpt2-a",
        ]
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["base"], "--unineuron-label=base: say NAME=MODEL, such as base=./checkpoints/latest"),
        (["=nano:neox-a"], "--unineuron-label==nano:neox-a: say NAME=MODEL*"),
        (["base="], "--unineuron-label=base=: say NAME=MODEL*"),
        (["base=nano:nex-a"], "*no model or corpus is nano:nex-a; did you mean nano:neox-a?"),
        (["prose=news"], "*another model or corpus is prose; choose another name"),
        (["x=news", "x=code"], "--unineuron-label=x=*: two would have this name; choose another"),
    ],
)
def test_a_label_that_names_nothing_is_refused(trials, labels, words):
    """The run ends before anything is collected."""
    found = trials.write(CLAIM).run(*(f"--unineuron-label={label}" for label in labels))
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: {words}"])
