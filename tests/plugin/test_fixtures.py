"""Fixtures that few trials ask for, and the passes in which their statistics are gathered."""

from safetensors import safe_open

from pytest_unineuron.cache.store import ENTRY_SUFFIX

TWO_CORPORA = ("--unineuron-corpus=news", "--unineuron-corpus=code", "--unineuron-tokens=600")
NEVER = ("--unineuron-controls=none", "--unineuron-fail-on=never", "-p", "cacheprovider")

EXTREMES = """
@pytest.mark.gt2(source="x")
def test_largest(unineuron_neurons, unineuron_extremes):
    values, tokens = unineuron_extremes.values, unineuron_extremes.tokens
    assert values.shape == tokens.shape == (10, len(unineuron_neurons))
    measure("fall", float((values[0] - values[-1]).min()), above=-1)
"""
UP = """
@pytest.mark.gt2(source="x")
def test_up(unineuron_up):
    measure("variance", float(unineuron_up.variance.min()), above=0)
"""
NEURONS = """
@pytest.mark.gt2(source="x")
def test_kurtosis(unineuron_neurons):
    measure("least", float(unineuron_neurons.kurtosis.min()), above=0)
"""
ANY_CORPUS = """
@pytest.mark.gt1(source="x")
def test_texts(unineuron_comparisons):
    found = [unineuron_comparisons(corpus) for corpus in ("prose", "news", "code")]
    measure("tokens", min(each.tokens for each in found), above=0)
"""


def stored_statistics(folder):
    """The classes of the statistics in a cache, from the descriptions of its entries."""
    found = set()
    for path in folder.rglob(f"*{ENTRY_SUFFIX}"):
        with safe_open(path, framework="pt") as file:
            about = file.metadata()["about"]
        found |= {name for name in ("Moments", "Firing", "Extremes") if f'"{name}"' in about}
    return found


def test_extremes_are_gathered_only_if_a_trial_asks_for_them(trials, two_seeds):
    """A pass for other trials does not pay for them."""
    model, cache = f"--unineuron-model={two_seeds[0]}", f"--unineuron-cache={trials.path / 'cache'}"
    trials.write(NEURONS).run(model, *TWO_CORPORA, *NEVER, cache)
    assert stored_statistics(trials.path / "cache") == {"Moments", "Firing"}
    assert trials.write(EXTREMES).run(model, *TWO_CORPORA, *NEVER, cache).ret == 0
    assert stored_statistics(trials.path / "cache") == {"Moments", "Firing", "Extremes"}


def test_one_pass_feeds_every_statistic_that_is_asked_for(trials, two_seeds):
    """Extremes of new models are gathered in the pass of the other statistics."""
    found = trials.write(NEURONS + EXTREMES).run(f"--unineuron-model={two_seeds[0]}", *TWO_CORPORA, *NEVER)
    assert found.report["forward_passes"] == len(("news", "code"))


def test_the_up_projection_of_a_gated_model(trials, tiny):
    """Of a model whose neurons have no gate, the trial is not applicable."""
    gated, plain = tiny("llama"), tiny("gpt2")
    models = [f"--unineuron-model={folder}" for folder in (gated, plain)]
    found = trials.write(UP).run(*models, *TWO_CORPORA, *NEVER)
    reasons = {
        label: {case["subject"]["outcome"] for case in subject["cases"]}
        for label, subject in found.trial("up[news]")["subjects"].items()
    }
    assert reasons == {gated.name: {"PASS"}, plain.name: {"NA"}}


def test_a_comparison_may_read_every_corpus_of_the_run(trials, two_seeds):
    """The report records all of them, since a change in any could change the result."""
    models = (f"--unineuron-model={two_seeds[0]}", f"--unineuron-seed={two_seeds[1]}")
    found = trials.write(ANY_CORPUS).run(*models, *TWO_CORPORA, *NEVER)
    (subject,) = found.trial("texts")["subjects"].values()
    (case,) = subject["cases"]
    assert case["subject"]["outcome"] == "PASS"
    assert set(case["subject"]["made_from"]["corpora"]) == {"prose", "news", "code"}
