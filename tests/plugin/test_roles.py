"""What trials are handed to ask for the roles of neurons: instruments of weights, and of short runs."""

import pytest

NEVER = ("--unineuron-fail-on=never", "--unineuron-controls=untrained", "--unineuron-tokens=600")
WEIGHTS = """
import numpy as np
from pytest_unineuron import SMALL, by_unit
from pytest_unineuron.roles.null_space import null_space_fractions

def lengths(view):
    return view.layers[0].write.norm(dim=1)

def heads(view):
    return np.arange(len(view.anatomy.heads)), view.layers[0].write.numel()

def first(view, few):
    return view.layers[0].write[:few, 0]

def views(view):
    return view

@pytest.mark.gt3(source="x")
def test_weights(unineuron_weights, unineuron_measure):
    composition = unineuron_weights.composition
    assert composition.kurtosis.shape == composition.skew.shape == unineuron_weights.layer.shape
    assert unineuron_weights.role(lengths).shape == (48,)
    assert unineuron_weights.role(heads)[0].tolist() == list(range(8))
    assert unineuron_weights.role(lambda view: len(view.layers)) == 2
    assert unineuron_weights.role(views).layers
    assert [len(unineuron_weights.role(first, few)) for few in (2, 3)] == [2, 3]
    assert unineuron_weights.role(lambda view, seen: seen, unineuron_weights) is unineuron_weights
    unineuron_measure("null space", by_unit(lambda w: w.role(null_space_fractions), unineuron_weights), higher_by=SMALL)
"""
RUNS = """
from pytest_unineuron import SMALL, by_unit
from pytest_unineuron.roles.orientation import orientation
from pytest_unineuron.roles.interventions import ablation_effects

@pytest.mark.gt3(source="x")
def test_runs(unineuron_runs, unineuron_weights, unineuron_measure):
    import torch

    effects = unineuron_runs.role(ablation_effects, torch.ones(1, len(unineuron_runs.layer), dtype=torch.bool))
    unineuron_measure.lists("chosen", {0: [1, 2, 3, 7], 1: [5]})
    unineuron_measure("loss", float(effects.mean("loss")[0]), higher_by=0.1)
    unineuron_measure("sign", by_unit(lambda r: r.role(orientation), unineuron_runs), higher_by=SMALL)
"""
TEXTS = """
def sum_of_ids(view, batches):
    return sum(int(batch.ids.sum()) for batch in batches)

@pytest.mark.gt2(source="x")
def test_texts(unineuron_reference_runs, unineuron_runs, unineuron_measure):
    for name, runs in (("reference", unineuron_reference_runs), ("new", unineuron_runs)):
        unineuron_measure(name, runs.role(sum_of_ids))
"""


@pytest.fixture
def cache(trials):
    return f"--unineuron-cache={trials.path / 'cache'}"


def hits(run):
    return {each["what"].split(":")[0].rpartition(".")[2] for each in run.report["cache"]["hits"]}


def test_a_role_is_one_function_of_the_weights(trials, tiny, cache):
    """It is stored, those that a trial brings along by their source too, but one that was made while the trial ran."""
    model = f"--unineuron-model={tiny('gpt_neox')}"
    first = trials.write(WEIGHTS).run(model, *NEVER, cache)
    assert first.outcome("weights", tiny("gpt_neox").name) != "ERROR"
    assert first.report["forward_passes"] == 0
    second = trials.run(model, *NEVER, cache)
    assert hits(second) == {"composition", "null_space_fractions", "lengths", "heads", "first"}
    assert [m["value"] for m in measured(first)] == [m["value"] for m in measured(second)]

    third = trials.write(WEIGHTS.replace("norm(dim=1)", "norm(dim=1) + 1")).run(model, *NEVER, cache)
    assert hits(third) == {"composition", "null_space_fractions"}


def subject(run):
    (trial,) = run.report["trials"]
    ((found,),) = ([s["cases"][0]["subject"]] for s in trial["subjects"].values())
    return found


def measured(run):
    return subject(run)["measurements"]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_role_may_run_the_model(trials, tiny, cache, architecture):
    """Each instrument counts as a forward pass of its arm, and its result is stored; another set is another result."""
    model = f"--unineuron-model={tiny(architecture)}"
    first = trials.write(RUNS).run(model, *NEVER, cache)
    assert first.outcome("runs[prose]", tiny(architecture).name) != "ERROR", first.reason(
        "runs[prose]", tiny(architecture).name
    )
    assert subject(first)["notes"] == ["chosen: layer 0: 1-3 7; layer 1: 5"]
    assert first.report["forward_passes"] == 2 * 2  # two instruments, the model and its control
    first.result.stdout.fnmatch_lines(["about 1 min on this processor*"])
    second = trials.run(model, *NEVER, cache)
    assert second.report["forward_passes"] == 0
    assert hits(second) == {"orientation", "ablation_effects"}
    other = trials.write(RUNS.replace("torch.ones(", "torch.eye(").replace("(1, len(", "(2, len("))
    assert other.run(model, *NEVER, cache).report["forward_passes"] == 2


def test_runs_on_the_reference_text_are_the_same_beside_every_new_text(trials, tiny):
    """Each text is read once by the model and by its control."""
    model = f"--unineuron-model={tiny('gpt2')}"
    report = trials.write(TEXTS).run(model, *NEVER, "--unineuron-corpus=news", "--unineuron-corpus=code").report
    cases = [subject["cases"][0] for trial in report["trials"] for subject in trial["subjects"].values()]
    reference, new = zip(*([m["value"] for m in case["subject"]["measurements"]] for case in cases), strict=True)
    assert len(set(reference)) == 1
    assert len({*reference, *new}) == 3
    assert report["forward_passes"] == 2 * 3


def test_the_cache_is_filled_with_nothing_for_short_runs(trials, tiny, cache):
    """Which sets a trial will ask for is not known before it runs."""
    from pytest_unineuron.plugin.fill_cache import fill_cache

    trials.write(RUNS)
    assert fill_cache([f"--unineuron-model={tiny('gpt2')}", *NEVER, cache, "-p", "no:randomly"]) == 4


def test_a_model_without_an_unembedding_is_not_asked(trials, tiny):
    """The reason names the model."""
    found = trials.write(WEIGHTS).run(f"--unineuron-model={tiny('bert')}", *NEVER)
    assert "BertForMaskedLM has no unembedding behind its last norm" in found.reason("weights", tiny("bert").name)


ATTENTION = """
import numpy as np
import pytest
from pytest_unineuron import LARGE, by_unit, jackknife

@pytest.mark.gt3(source="x", controls=["untrained", "exchanged-entries"])
def test_attention(unineuron_attention, unineuron_public_attention, unineuron_measure):
    assert unineuron_attention.layer.tolist() == [0] * 4 + [1] * 4
    texts = unineuron_public_attention("style").texts()
    assert [len(text.mean("first")) for text in texts] == [8] * 5
    first = jackknife(lambda a: a.mean("first").max(), unineuron_attention)
    unineuron_measure("first", first, higher_by=0.1)
    unineuron_measure("entropy", by_unit(lambda a: a.mean("entropy"), unineuron_attention), lower_by=LARGE)

@pytest.mark.gt3(source="x", controls=["shifted-documents"])
def test_patterns(unineuron_patterns, unineuron_public_patterns, unineuron_measure):
    assert np.concatenate(unineuron_public_patterns("style 3").pairs).shape == (2 * 4 * 4,)
    unineuron_measure("matched", by_unit(lambda p: p.matched, unineuron_patterns), higher_by=LARGE)
"""


def test_attention_is_measured_once_per_arm(trials, two_seeds, cache):
    """Statistics of it are stored, and a comparison with a seed is a pass of that seed too."""
    own, seed = two_seeds
    args = (f"--unineuron-model={own}", f"--unineuron-seed={seed}", "--unineuron-tokens=900", cache)
    first = trials.write(ATTENTION).run(*args, "--unineuron-fail-on=never")
    assert {first.outcome("attention[prose]", own.name), first.outcome("patterns[prose]", own.name)} <= {"FAIL", "NA"}
    # Three arms on prose and on one kind of public text; two on prose and on a public text, with the seed each time.
    assert first.report["forward_passes"] == 3 * 2 + 2 * 2 * 2
    second = trials.run(*args, "--unineuron-fail-on=never")
    assert second.report["forward_passes"] == 0
    assert hits(second) == {"attention_sums", "pattern_products"}


def test_without_a_seed_attention_is_compared_with_nothing(trials, tiny, cache):
    """The trial is NA, and says what is missing."""
    found = trials.write(ATTENTION).run(f"--unineuron-model={tiny('gpt2')}", "-k", "patterns", *NEVER[:1], cache)
    assert found.outcome("patterns[prose]", tiny("gpt2").name) == "NA"
    assert "no further seeds" in found.reason("patterns[prose]", tiny("gpt2").name)
