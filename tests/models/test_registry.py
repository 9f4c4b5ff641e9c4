"""What belongs together, and what happens when nothing does."""

import json
import re

import pytest

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.source import parse
from pytest_unineuron.models.registry import AT_MOST, FAMILIES, compared, further


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A zoo of two families, of which only configurations and recipes are there."""
    for name in ("ape-a", "ape-b", "ape-c", "owl-a", "owl-b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "recipe.json").write_text(json.dumps({"family": name[:3]}))
    monkeypatch.setenv("UNINEURON_ZOO", str(tmp_path))
    return tmp_path


def test_a_nano_model_goes_with_all_its_siblings(folders):
    """Of its family by the recipe, itself left out, however it was named."""
    assert further(parse("nano:ape-b")) == ("nano:ape-a", "nano:ape-c")
    assert further(parse("nano:owl-a")) == ("nano:owl-b",)
    assert further(parse(str(folders / "owl-a"))) == ("nano:owl-b",)


def test_an_untrained_model_is_compared_with_trained_ones(folders):
    """Its seeds are those of the model it is shaped like."""
    assert further(parse("untrained:nano:ape-a")) == ("nano:ape-b", "nano:ape-c")


@pytest.mark.parametrize(
    ("spec", "seeds"),
    [
        ("EleutherAI/pythia-70m", ("EleutherAI/pythia-70m-seed1@step143000", "EleutherAI/pythia-70m-seed2@step143000")),
        (
            "EleutherAI/pythia-410m-seed1@step143000",
            ("EleutherAI/pythia-410m", "EleutherAI/pythia-410m-seed2@step143000"),
        ),
        (
            "EleutherAI/pythia-160m-data-seed2",
            ("EleutherAI/pythia-160m-data-seed1@step143000", "EleutherAI/pythia-160m-data-seed3@step143000"),
        ),
        (
            "stanford-crfm/arwen-gpt2-medium-x21",
            ("stanford-crfm/beren-gpt2-medium-x49", "stanford-crfm/celebrimbor-gpt2-medium-x81"),
        ),
        ("google/multiberts-seed_1", ("google/multiberts-seed_0", "google/multiberts-seed_2")),
        ("EleutherAI/pythia-1b", ()),
        ("someone/else", ()),
    ],
)
def test_the_hub(spec, seeds):
    """At most two that nobody asked for, and never the model itself."""
    found = further(parse(spec))
    assert found == seeds
    assert len(found) <= AT_MOST


def test_every_row_of_the_registry_is_a_family():
    """Its pattern matches its own members, which are several and all different."""
    for pattern, members in FAMILIES:
        named = [member.replace("{0}", "160m").partition("@")[0] for member in members]
        assert len(set(named)) == len(named) > 1
        assert all(re.fullmatch(pattern, name) for name in named), pattern


def test_what_is_asked_for_is_taken():
    """In place of the registry, any number, and the model itself is left out."""
    asked = [f"EleutherAI/pythia-70m-seed{i}@step143000" for i in range(1, 6)]
    assert compared(parse("EleutherAI/pythia-70m"), asked) == tuple(asked)
    assert compared(parse(asked[0]), asked) == tuple(asked[1:])


def test_a_model_alone_is_not_applicable():
    """With the option that would help."""
    with pytest.raises(NotApplicable, match=r"no further seeds of someone/else are known; .* --unineuron-seed"):
        compared(parse("someone/else"), ())
