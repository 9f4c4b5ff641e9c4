"""``--unineuron-neurons``: a pattern of paths in place of discovery, and the fixture that verifies a model."""

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
    """A tiny GPT-2, made here because pytester removes modules that are first imported in an inner run."""
    return tiny("gpt2")


@pytest.fixture(scope="module")
def mamba(tiny):
    """A model without MLP neurons."""
    return tiny("mamba")


def run_with_pattern(trials, folder, pattern):
    return trials.write(MEASURES).run(
        "--unineuron-fail-on=never",
        "--unineuron-controls=none",
        "--unineuron-tokens=600",
        f"--unineuron-model={folder}",
        f"--unineuron-neurons={pattern}",
    )


def test_neurons_are_those_at_the_paths(folder, trials):
    """The pattern selects one of two layers, and the report says which."""
    found = run_with_pattern(trials, folder, "*.1.mlp.c_proj")
    (record,) = found.trial("counted[prose]")["subjects"].values()
    assert record["cases"][0]["subject"]["measurements"][0]["value"] == 48
    (facts,) = found.report["models"].values()
    assert [site.split(":")[0] for site in facts["sites"]] == ["layer 1"]


def test_a_path_that_holds_no_neurons_is_an_error(folder, trials):
    """The error is one sentence that says what is at the path instead."""
    found = run_with_pattern(trials, folder, "*.attn.c_proj")
    assert "ERROR (1): broken counted[prose] on " in found.shown
    assert "no MLP neurons at '*.attn.c_proj' (2 × reads a mix)" in found.result.stdout.str()


def test_the_check_of_a_model_is_an_ordinary_test(folder, trials):
    """It is no trial: only pytest reports it, and it runs without any trial."""
    alone = trials.write(CHECKS).run(f"--unineuron-model={folder}", "-v")
    assert alone.ret == 0
    alone.result.stdout.fnmatch_lines([f"*::test_checked[[]{folder.name}] PASSED*"])
    alone.result.stdout.no_fnmatch_line("*do they generalize*")


def test_a_model_without_neurons_fails_its_check(mamba, trials):
    """The message states the reason for every matrix product of the model."""
    found = trials.write(CHECKS).run(f"--unineuron-model={mamba}")
    assert found.ret == 1
    found.result.stdout.fnmatch_lines(["*MambaForCausalLM: no MLP neurons: no matmul's input is made unit by unit*"])
    assert "Traceback" not in found.result.stdout.str()
