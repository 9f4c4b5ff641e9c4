"""``--unineuron-seed``, and what a run says before it fetches and compares."""

import shutil

import pytest

COMPARES = """
@pytest.mark.gt1(source="x", controls=["shifted-documents"])
def test_compared(unineuron_universality):
    measure("mean excess", unineuron_universality.neurons.mean_excess, above=0.5)
"""
ALONE = """
@pytest.mark.gt1(source="x", controls=["untrained"])
def test_alone(unineuron_neurons):
    measure("tokens", unineuron_neurons.tokens, above=0)
"""


@pytest.fixture(scope="module")
def folders(tiny):
    """Two seeds and another family, made before pytester takes stock of the modules that are imported."""
    return tiny("gpt_neox", initializer_range=0.02), tiny("gpt_neox", initializer_range=0.03), tiny("gpt2")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two seeds of a model whose neurons are those of experts."""
    from tests.models.tiny import prepared, tokenizer

    made = [tmp_path_factory.mktemp("mixtral") for _ in range(2)]
    for folder in made:
        loaded, _ = prepared("causal", "mixtral")
        loaded.model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return made


NEVER = "--unineuron-fail-on=never"
NONE = "--unineuron-controls=none"


def test_seeds_can_be_named(folders, trials):
    """A model and a copy of it agree; the run said beforehand what it would compare."""
    own, other, _ = folders
    found = trials.write(COMPARES).run(
        NEVER, f"--unineuron-model={own}", f"--unineuron-seed={other}", "--unineuron-tokens=4000"
    )
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(
        [f"{own.name} is compared with {other}: 3 forward passes over at most 4000 tokens, *"]
    )
    (record,) = found.trial("compared[prose]")["subjects"].values()
    assert record["cases"][0]["subject"]["measurements"][0]["value"] > 0.3
    assert found.report["forward_passes"] == 3


def test_only_comparisons_of_a_model_without_seeds_are_not_applicable(folders, trials):
    """NA with the option that would help. Other trials on the same text are measured, also with a cache."""
    found = trials.write(COMPARES + ALONE).run(
        NEVER, NONE, f"--unineuron-model={folders[2]}", "--unineuron-tokens=600", "-p", "cacheprovider"
    )
    assert found.ret == 0
    (compared,), (alone,) = (found.trial(name)["subjects"].values() for name in ("compared[prose]", "alone[prose]"))
    assert compared["outcome"] == "NA"
    assert "name some with --unineuron-seed" in compared["reason"]
    assert alone["cases"][0]["subject"]["outcome"] == "PASS"
    assert found.report["forward_passes"] == 1


def test_neurons_of_experts_are_not_compared(experts, trials):
    """Experts of two seeds see different tokens. Other trials on the same text are measured, in one pass."""
    own, other = experts
    found = trials.write(COMPARES + ALONE).run(
        NEVER, NONE, f"--unineuron-model={own}", f"--unineuron-seed={other}", "--unineuron-tokens=600"
    )
    (compared,), (alone,) = (found.trial(name)["subjects"].values() for name in ("compared[prose]", "alone[prose]"))
    assert (compared["outcome"], compared["reason"]) == (
        "NA",
        "experts of two seeds see different tokens; their neurons are not compared",
    )
    assert alone["cases"][0]["subject"]["outcome"] == "PASS"
    assert found.report["forward_passes"] == 1


def test_seeds_with_another_tokenizer_are_an_error(folders, trials, tmp_path):
    """In one sentence: the same ids would mean other text."""
    other = shutil.copytree(folders[2], tmp_path / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(text.replace('"Ġthe"', '"Ġteh"').replace("Ġt he", "Ġt eh"), encoding="utf-8")
    found = trials.write(COMPARES).run(NEVER, NONE, f"--unineuron-model={folders[2]}", f"--unineuron-seed={other}")
    (subject,) = found.trial("compared[prose]")["subjects"].values()
    assert subject["outcome"] == "ERROR"
    assert found.ret == 1
    assert "Traceback" not in found.result.stdout.str()


def test_a_seed_that_is_the_model_itself_is_an_error(folders, trials, tmp_path):
    """Under another name, even the model's own label: it would agree with itself. Other trials do not suffer."""
    own = folders[0]
    twin = shutil.copytree(own, tmp_path / "twin")
    found = trials.write(COMPARES + ALONE).run(
        NEVER, NONE, f"--unineuron-model={own}", f"--unineuron-seed={twin}", "--unineuron-tokens=4000"
    )
    (compared,), (alone,) = (found.trial(name)["subjects"].values() for name in ("compared[prose]", "alone[prose]"))
    assert compared["outcome"] == "ERROR"
    assert f"has the same weights as {own.name}, so it is not another seed" in compared["reason"]
    assert alone["cases"][0]["subject"]["outcome"] == "PASS"
    assert "Traceback" not in found.result.stdout.str()


def test_a_seed_that_cannot_be_is_refused(trials):
    """Before anything is collected."""
    found = trials.write(COMPARES).run("--unineuron-seed=nano:nobody")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: model nano:nobody: there is no such nano model; there are *"])
