"""The registry: which seeds a model is compared with, which models are not new, which have published tables."""

import json
import os
import re

import pytest

from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import (
    FAMILIES,
    MAX_HUB_SEEDS,
    known_seeds,
    published_table,
    reason_not_new,
    seeds_compared_with,
)


@pytest.fixture
def zoo_folder(tmp_path, monkeypatch):
    """A zoo of two families, with configurations and recipes but no weights."""
    for name in ("ape-a", "ape-b", "ape-c", "owl-a", "owl-b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "recipe.json").write_text(json.dumps({"family": name[:3]}))
    monkeypatch.setenv("UNINEURON_ZOO", str(tmp_path))
    return tmp_path


def test_a_nano_model_is_compared_with_the_rest_of_its_family(zoo_folder):
    """The recipe names the family; the model itself is left out, also when it is given as a folder."""
    assert known_seeds(parse_source("nano:ape-b")) == ("nano:ape-a", "nano:ape-c")
    assert known_seeds(parse_source("nano:owl-a")) == ("nano:owl-b",)
    assert known_seeds(parse_source(str(zoo_folder / "owl-a"))) == ("nano:owl-b",)


def test_an_untrained_model_is_compared_with_trained_seeds(zoo_folder):
    """Its seeds are those of the model whose configuration it has."""
    assert known_seeds(parse_source("untrained:nano:ape-a")) == ("nano:ape-b", "nano:ape-c")


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
        ("eleutherai/Pythia-70m", ("EleutherAI/pythia-70m-seed1@step143000", "EleutherAI/pythia-70m-seed2@step143000")),
        ("EleutherAI/pythia-1b", ()),
        ("someone/else", ()),
    ],
)
def test_a_hub_model_has_few_default_seeds(spec, seeds):
    """Seeds that nobody asked for are at most two, and never the model itself."""
    found = known_seeds(parse_source(spec))
    assert found == seeds
    assert len(found) <= MAX_HUB_SEEDS


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES.values() if family.seeds], ids=lambda family: family.names
)
def test_every_family_matches_its_own_seeds(family):
    """The seeds of a family are several, all different, and all named by its pattern."""
    names = [seed.replace("{0}", "160m").partition("@")[0] for seed in family.seeds]
    assert len(set(names)) == len(names) > 1
    assert all(re.fullmatch(family.names, name) for name in names)


def test_requested_seeds_replace_the_registry():
    """Any number of seeds can be asked for; the model itself is left out of them."""
    asked = [f"EleutherAI/pythia-70m-seed{i}@step143000" for i in range(1, 6)]
    assert seeds_compared_with(parse_source("EleutherAI/pythia-70m"), asked) == tuple(asked)
    assert seeds_compared_with(parse_source(asked[0]), asked) == tuple(asked[1:])
    with pytest.raises(NotApplicable, match=f"--unineuron-seed={asked[0]} is the model itself; name one"):
        seeds_compared_with(parse_source(asked[0]), asked[:1])


def test_a_model_without_seeds_is_not_applicable():
    """The reason names the option with which seeds are given."""
    with pytest.raises(NotApplicable, match=r"no further seeds of someone/else are known; .* --unineuron-seed"):
        seeds_compared_with(parse_source("someone/else"), ())


@pytest.mark.parametrize(
    ("spec", "table", "reason"),
    [
        ("stanford-crfm/alias-gpt2-small-x21", "stanford-gpt2-small-a", "GPT2-small of the paper"),
        ("stanford-crfm/eowyn-gpt2-medium-x777", "", "GPT2-medium of the paper"),
        ("EleutherAI/pythia-160m@step143000", "pythia-160m", "Pythia-160m of the paper"),
        ("stanford-crfm/arwen-gpt2-medium-x21@checkpoint-100", "", "GPT2-medium of the paper"),
        ("stanford-crfm/arwen-gpt2-medium-x21@checkpoint-400000", "stanford-gpt2-medium-a", "GPT2-medium of the paper"),
        ("stanford-crfm/arwen-gpt2-medium-x21@main", "stanford-gpt2-medium-a", "GPT2-medium of the paper"),
        ("EleutherAI/pythia-160m-data-seed1", "", "Pythia-160m of the paper"),
        ("eleutherai/pythia-160M", "pythia-160m", "Pythia-160m of the paper"),
        ("nano:gpt2-a", "gpt2-a", "the zoo's stand-in for the paper's GPT-2 models"),
        ("nano:neox-a", "neox-a", ""),
        ("EleutherAI/pythia-410m", "", ""),
        ("untrained:EleutherAI/pythia-160m", "", ""),
    ],
)
def test_studied_models_are_not_new(spec, table, reason):
    """One table says which models the paper studied and which of them have published neurons."""
    assert published_table(parse_source(spec)) == table
    assert reason_not_new(parse_source(spec)).removeprefix("not a new model: ").startswith(reason)
    assert bool(reason_not_new(parse_source(spec))) == bool(reason)


def test_a_folder_in_the_cache_of_the_hub_is_the_model_it_was_fetched_as(tmp_path):
    """Label, seeds and table are those of the hub id. A link to it has them too, with the label that was typed."""
    snapshot = tmp_path / "models--EleutherAI--pythia-160m" / "snapshots" / "50f5173d"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    source = parse_source(str(snapshot))
    assert source.label == "EleutherAI/pythia-160m"
    assert reason_not_new(source).startswith("not a new model: Pythia-160m of the paper")
    assert reason_not_new(parse_source(f"untrained:{snapshot}")) == ""
    assert published_table(source) == "pythia-160m"
    assert known_seeds(source) == known_seeds(parse_source("EleutherAI/pythia-160m"))
    (tmp_path / "latest").symlink_to(snapshot)
    link = parse_source(str(tmp_path / "latest"))
    assert link.label == "latest"
    assert reason_not_new(link) == reason_not_new(source)
    assert published_table(link) == "pythia-160m"
    assert known_seeds(link) == known_seeds(source)


def test_the_folder_above_the_snapshots_is_refused_with_the_newest_of_them(tmp_path):
    """It holds every revision that was fetched."""
    repository = tmp_path / "models--EleutherAI--pythia-160m"
    for number, name in enumerate(("b0b0", "a1a1")):
        folder = repository / "snapshots" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        os.utime(folder / "config.json", (number, number))
    with pytest.raises(ModelError, match=r"a folder of the cache of the hub; give its snapshot .*/snapshots/a1a1$"):
        parse_source(str(repository))


@pytest.mark.parametrize(
    ("revision", "of_seeds"), [("@step1000", "step1000"), ("@step143000", "step143000"), (f"@{'a' * 40}", "step143000")]
)
def test_seeds_of_an_early_checkpoint_have_as_many_steps(revision, of_seeds):
    """A commit does not say how many; it is taken for the last one."""
    found = known_seeds(parse_source(f"EleutherAI/pythia-410m{revision}"))
    assert found == tuple(f"EleutherAI/pythia-410m-seed{number}@{of_seeds}" for number in (1, 2))
