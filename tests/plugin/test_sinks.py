"""Attention sinks in a run: found once in the model, left out in every arm, and reported."""

import shutil

import numpy as np
import pytest

from tests.models.checkpoints import change_weights

TRIAL = """
@pytest.mark.gt2(source="x", controls=["untrained", "rotation", "random-tokens"])
def test_tails(unineuron_neurons):
    measure("pooled kurtosis", unineuron_neurons.residual.pooled_kurtosis, above=0)
    measure("with sinks", unineuron_neurons.with_sinks.residual.pooled_kurtosis)
    measure("tokens", unineuron_neurons.tokens)
    measure("sinks", len(unineuron_neurons.sinks.tokens))
    measure("all tokens", unineuron_neurons.with_sinks.tokens)
"""
COMPARED = """
@pytest.mark.gt1(source="x", controls=[])
def test_compared(unineuron_universality):
    measure("tokens", unineuron_universality.tokens, above=0)
"""
ARGS = ("--unineuron-corpus=news", "--unineuron-tokens=1500", "--unineuron-fail-on=never", "-p", "cacheprovider")


@pytest.fixture(scope="module")
def with_sinks(tiny, tmp_path_factory):
    """The folder of a model in which the first text token of every block is a sink."""

    def plant(state):
        (name,) = [name for name in state if name.endswith("wpe.weight")]
        state[name][1] *= 1000

    folder = tmp_path_factory.mktemp("sinks") / "planted"
    shutil.copytree(tiny("gpt2"), folder)
    change_weights(folder, plant)
    return folder


def measured(arm):
    """The values of an arm's measurements, by name."""
    return {each["name"]: each["value"] for each in arm["measurements"]}


def test_every_arm_leaves_the_same_tokens_out(trials, with_sinks):
    """They are those of the model itself, although its controls have none. A warm run reads them from the cache."""
    trials.write(TRIAL)
    first = trials.run(f"--unineuron-model={with_sinks}", *ARGS)
    (case,) = first.trial("tails[news]")["subjects"]["planted"]["cases"]
    arms = [measured(arm) for arm in (case["subject"], *case["controls"].values())]
    sinks = first.report["models"]["planted"]["sinks"]["news"]
    assert len(arms) == 4
    assert sinks["positions"] == {"1": sinks["tokens"]}
    assert {(arm["sinks"], arm["tokens"], arm["all tokens"]) for arm in arms} == {
        (sinks["tokens"], 1500 - sinks["tokens"], 1500)
    }
    assert arms[0]["with sinks"] > 10 * arms[0]["pooled kurtosis"]
    assert sinks["fourth_moment"] > 0.99
    markdown = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
    assert f"planted on news: {sinks['tokens']} tokens" in markdown.replace("\\", "")

    second = trials.run(f"--unineuron-model={with_sinks}", *ARGS)
    assert second.report["forward_passes"] == 0
    assert second.report["models"]["planted"]["sinks"] == first.report["models"]["planted"]["sinks"]
    (case,) = second.trial("tails[news]")["subjects"]["planted"]["cases"]
    assert [measured(arm) for arm in (case["subject"], *case["controls"].values())] == arms


def test_seeds_are_compared_at_the_other_tokens(trials, with_sinks, tiny):
    """The sinks are those of the model under test."""
    run = trials.write(COMPARED).run(
        f"--unineuron-model={with_sinks}", f"--unineuron-seed={tiny('gpt2', seed=1)}", *ARGS
    )
    (case,) = run.trial("compared[prose]")["subjects"]["planted"]["cases"]
    sinks = run.report["models"]["planted"]["sinks"]
    (facts,) = sinks.values()
    assert facts["tokens"] > 0
    assert measured(case["subject"])["tokens"] == 1500 - facts["tokens"]
    assert np.isfinite(facts["fourth_moment"])
