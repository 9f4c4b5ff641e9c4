"""Declarations that return or say something else than they have to: one line says what to give."""

from pathlib import Path

import pytest

from pytest_unineuron import controls, extend
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import OptionError
from pytest_unineuron.extend import CONTROL, CORPUS, Declaration
from pytest_unineuron.study.extensions import Registry


@pytest.fixture
def registry():
    found = Registry()
    yield found
    found.remove_all()


@pytest.mark.parametrize(
    ("replaces", "wanted"),
    [("model", "another model"), ("text", "blocks"), ("labels", "the neuron"), ("units", "a function of site")],
)
def test_a_control_that_returns_nothing(registry, replaces, wanted):
    """Such as one that changes the model that it is given."""
    facts = {"replaces": replaces, "description": "keeps all"}
    registry.add(Declaration(CONTROL, "mine", Path(__file__), facts, lambda *given: None))
    with pytest.raises(OptionError, match=rf"control 'mine': returned a NoneType; return {wanted}"):
        controls.CONTROLS["mine"].load()(None, None, 1)


def test_a_corpus_that_is_a_list(registry):
    """A list of texts has no name and no provenance."""
    registry.add(Declaration(CORPUS, "mine", Path(__file__), {}, lambda: ["One.", "Two."]))
    with pytest.raises(OptionError, match=r"corpus 'mine': returned a list; return a Corpus of Documents"):
        find_corpus("mine")


@pytest.mark.parametrize("replaces", ["model", "text", "pairing", "labels", "units"])
def test_a_control_that_asserts_what_is_not_so(registry, replaces):
    """It is broken, and its arm is no arm on which the claim is missed."""

    def broken(*given):
        assert not given, "a mistake in my control"

    registry.add(Declaration(CONTROL, "mine", Path(__file__), {"replaces": replaces, "description": "x"}, broken))
    with pytest.raises(OptionError, match="control 'mine': AssertionError: a mistake in my control"):
        controls.CONTROLS["mine"].load()(None, None, 1)


def declared(what):
    if what == "statistic":
        return extend.statistic("mine", sites="pre")(type("Mine", (), {}))
    return extend.family("nano:(", seeds=()) if what == "pattern" else extend.family("nano:x", seeds="nano:neox-b")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("statistic", r"statistic 'mine': sites='pre' is one text; give a list: sites=\['pre'\]"),
        ("family", r"family 'nano:x': seeds='nano:neox-b' is one text; give a list: seeds=\['nano:neox-b'\]"),
        ("pattern", r"family 'nano:\(': is no regular expression \(.*position 5\); give one, such as 'acme/gpt-"),
    ],
)
def test_a_declaration_of_another_type(registry, what, message):
    """A text is a sequence too: of its characters."""
    with pytest.raises(OptionError, match=message):
        registry.add(declared(what))
