"""``--unineuron-neurons``: a pattern of paths in place of discovery; and checks of models as items of their own."""

import pytest

MEASURES = """
@pytest.mark.gt3(source="x", controls=[])
def test_counted(unineuron_neurons):
    measure("neurons", len(unineuron_neurons), above=0)
"""

CHECKS = """
def test_checked(unineuron_verified):
    assert set(unineuron_verified) == {"W_out h + b = output", "W_in x + b = pre", "act(pre) = h", "rows are tokens"}
"""


@pytest.fixture(scope="module")
def folder(tiny):
    """Made before pytester takes stock of the modules that are imported."""
    return tiny("gpt2")


@pytest.fixture(scope="module")
def mamba(tiny):
    """A model that has none."""
    return tiny("mamba")


def counted(trials, folder, pattern):
    return trials.write(MEASURES).run(
        "--unineuron-fail-on=never",
        "--unineuron-controls=none",
        "--unineuron-tokens=600",
        f"--unineuron-model={folder}",
        f"--unineuron-neurons={pattern}",
    )


def test_neurons_are_those_of_the_path(folder, trials):
    """One layer of the two; the report says which."""
    found = counted(trials, folder, "*.1.mlp.c_proj")
    (record,) = found.trial("counted[prose]")["subjects"].values()
    assert record["cases"][0]["subject"]["measurements"][0]["value"] == 48
    (facts,) = found.report["models"].values()
    assert [site.split(":")[0] for site in facts["sites"]] == ["layer 1"]


def test_a_path_that_holds_no_neurons_is_an_error(folder, trials):
    """In one sentence, with what is there instead."""
    found = counted(trials, folder, "*.attn.c_proj")
    (record,) = found.trial("counted[prose]")["subjects"].values()
    assert record["outcome"] == "ERROR"
    assert "no MLP neurons at '*.attn.c_proj' (2 × reads a mix)" in record["reason"]


def test_every_model_is_checked_in_an_item_of_its_own(folder, trials):
    """It is no trial: it is reported by pytest alone, and runs with or without any."""
    alone = trials.write(CHECKS).run(f"--unineuron-model={folder}", "-v")
    assert alone.ret == 0
    alone.result.stdout.fnmatch_lines([f"*::test_checked[[]{folder.name}] PASSED*"])
    alone.result.stdout.no_fnmatch_line("*do they generalize*")


def test_a_model_without_neurons_fails_its_check(mamba, trials):
    """With the reason for every matmul it has."""
    found = trials.write(CHECKS).run(f"--unineuron-model={mamba}")
    assert found.ret == 1
    found.result.stdout.fnmatch_lines(["*MambaForCausalLM: no MLP neurons: no matmul's input is made unit by unit*"])
    assert "Traceback" not in found.result.stdout.str()
