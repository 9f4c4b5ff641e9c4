"""``--unineuron-seed``: seeds to compare, and the lines that announce what a run fetches and compares."""

import shutil

import pytest

from pytest_unineuron.models.loading.source import parse_source

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
    """Two seeds and a model of another family.

    They are made here because pytester removes modules that are first imported in an inner run.
    """
    return tiny("gpt_neox", initializer_range=0.02), tiny("gpt_neox", initializer_range=0.03), tiny("gpt2")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two seeds of a mixture of experts."""
    from tests.models.tiny import prepared, tokenizer

    folders = [tmp_path_factory.mktemp("mixtral") for _ in range(2)]
    for folder in folders:
        loaded, _ = prepared("causal", "mixtral")
        loaded.model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folders


NEVER = "--unineuron-fail-on=never"
NONE = "--unineuron-controls=none"


def test_seeds_can_be_named(folders, trials):
    """The comparison is announced before it starts, with its number of forward passes."""
    own, other, _ = folders
    found = trials.write(COMPARES).run(
        NEVER, f"--unineuron-model={own}", f"--unineuron-seed={other}", "--unineuron-tokens=4000"
    )
    assert found.ret == 0
    assert f"{own.name} is compared with {other}: 3 forward passes over at most 4000 tokens, " in found.shown
    (record,) = found.trial("compared[prose]")["subjects"].values()
    assert record["cases"][0]["subject"]["measurements"][0]["value"] > 0.3
    assert found.report["forward_passes"] == 3


def test_comparisons_of_a_model_without_seeds_are_not_applicable(folders, trials):
    """The reason names the option. Other trials on the same text are measured, also with a cache."""
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
    """The same token ids would stand for other text. The error has no traceback."""
    other = shutil.copytree(folders[2], tmp_path / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(text.replace('"Ġthe"', '"Ġteh"').replace("Ġt he", "Ġt eh"), encoding="utf-8")
    found = trials.write(COMPARES).run(NEVER, NONE, f"--unineuron-model={folders[2]}", f"--unineuron-seed={other}")
    assert "ERROR (1): broken compared[prose] on " in found.shown
    assert found.ret == 1
    assert "Traceback" not in found.result.stdout.str()


def test_a_model_of_another_shape_is_no_seed(folders, trials):
    """Even if both read the same tokens: the verdict would say that seeds were compared."""
    found = trials.write(COMPARES).run(NEVER, NONE, f"--unineuron-model={folders[0]}", f"--unineuron-seed={folders[2]}")
    assert " (GPT2LMHeadModel) has another shape than " in found.shown
    assert " Cases: 1 ERROR. Forward passes: 0." in found.shown


def test_a_seed_that_is_the_model_itself_is_an_error(folders, trials, tmp_path):
    """A copy under another name would agree with the model perfectly. Other trials are measured."""
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


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory):
    """A seed, and the same weights in shards of another precision."""
    from transformers import AutoModelForCausalLM

    from pytest_unineuron.models.loading.load import load_model
    from tests.models.tiny import build, tokenizer

    seed, again = (tmp_path_factory.mktemp("rewritten") for _ in range(2))
    build("gpt_neox", seed=1).save_pretrained(seed)
    AutoModelForCausalLM.from_pretrained(seed, dtype="bfloat16").save_pretrained(again, max_shard_size="20KB")
    for folder in (seed, again):
        tokenizer().save_pretrained(folder)
        load_model(parse_source(str(folder)))
    return seed, again


def test_two_seeds_that_are_the_same_are_an_error(folders, rewritten, trials):
    """In other files and another precision. The error says which they are, and nothing is read."""
    seed, again = rewritten
    found = trials.write(COMPARES).run(
        NEVER, NONE, f"--unineuron-model={folders[0]}", f"--unineuron-seed={seed}", f"--unineuron-seed={again}"
    )
    assert f": {again} has the same weights as {seed}, so it is not another seed; " in found.shown
    assert " Cases: 1 ERROR. Forward passes: 0." in found.shown


def test_an_unknown_seed_is_refused(trials):
    """The run ends with status 4 before it collects trials."""
    found = trials.write(COMPARES).run("--unineuron-seed=nano:nobody")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: model nano:nobody: there is no such nano model; there are *"])
