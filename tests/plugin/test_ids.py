"""Ids of items, in which models, corpora and parameters may have any name."""

import pytest

from tests.plugin.inner import HOLDS

UNTRAINED = "--unineuron-controls=untrained"
CORPORA = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_read(unineuron_case, unineuron_corpus):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


def folder(trials, name):
    """The folder of a model that is never loaded."""
    path = trials.path / name
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").touch()
    return path


NAMES = ["modèle", "模型", "a b", "a-b~c", "50%", "x[1]", "it's"]


@pytest.mark.parametrize("name", NAMES)
def test_models_of_any_name(trials, name):
    """A subject and its control are matched."""
    found = trials.write(HOLDS).run(f"--unineuron-model={folder(trials, name)}", UNTRAINED)
    assert found.ret == 0
    found.result.assert_outcomes(passed=2)
    assert found.outcome("good", name) == "PASS"
    assert found.report["incomplete"] == []


def test_models_of_any_name_on_workers(trials):
    """Each model runs on one worker, with the results of a run in one process."""
    models = [f"--unineuron-model={folder(trials, name)}" for name in NAMES]
    found = trials.write(HOLDS).run(*models, UNTRAINED, "-n2")
    assert found.ret == 0
    assert {name: found.outcome("good", name) for name in NAMES} == dict.fromkeys(NAMES, "PASS")
    assert found.report["incomplete"] == []


def test_corpora_of_any_name(trials):
    """Names may have blanks and letters beyond ASCII."""
    for name in ("новости", "a b"):
        (trials.path / f"{name}.txt").write_text("Text.\n\nMore.", encoding="utf-8")
    found = trials.write(CORPORA).run(
        "--unineuron-model=nano:neox-a", UNTRAINED, "--unineuron-corpus=новости.txt", "--unineuron-corpus=a b.txt"
    )
    assert found.ret == 0
    assert {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in found.report["trials"]} == {
        "read[новости]": "PASS",
        "read[a b]": "PASS",
    }


def test_two_models_of_the_same_name(trials):
    """Two folders with one name are distinguished by their paths, also if duplicate ids are an error."""
    specs = [folder(trials, f"{parent}/twin") for parent in ("one", "two")]
    strict = ["-o", "strict_parametrization_ids=true"] if pytest.version_tuple >= (9,) else []
    found = trials.write(HOLDS).run(*[f"--unineuron-model={spec}" for spec in specs], UNTRAINED, *strict)
    assert found.ret == 0
    assert [found.outcome("good", str(spec)) for spec in specs] == ["PASS", "PASS"]


@pytest.mark.parametrize("values", [["ä", "ö"], [1, 1], ["neox-a", "~untrained"], ["", "a"], [-1, 1]])
def test_parameters_of_any_name(trials, values):
    """Every value is a case of its own, with its own control."""
    marked = HOLDS.replace("@pytest", f"@pytest.mark.parametrize('value', {values!r})\n@pytest", 1)
    found = trials.write(marked.replace("unineuron_case)", "unineuron_case, value)")).run(
        "--unineuron-model=nano:neox-a", UNTRAINED
    )
    assert found.ret == 0
    cases = found.trial("good")["subjects"]["neox-a"]["cases"]
    assert [case["outcome"] for case in cases] == ["PASS", "PASS"]
    assert [list(case["controls"]) for case in cases] == [["untrained"], ["untrained"]]
