"""Claims relative to controls, and verdicts on models with and without further seeds, in whole runs."""

import re

import pytest

TOKENS, FEW = "--unineuron-tokens=3000", "--unineuron-tokens=300"
NEVER = "--unineuron-fail-on=never"
UNITS = """
from pytest_unineuron import MEDIUM, by_unit

@pytest.mark.gt1(source="x", primary=True)
def test_units(unineuron_neurons, unineuron_measure):
    unineuron_measure("skew", by_unit(lambda n: n.skew, unineuron_neurons), higher_by=MEDIUM)
"""
SEEDS = """
@pytest.mark.gt1(source="x", primary=True, controls=["shifted-documents"])
def test_seeds(unineuron_universality, unineuron_measure):
    unineuron_measure.needs("further seeds", len(unineuron_universality.seeds), at_least=1)
    unineuron_measure("mean excess", unineuron_universality.neurons.mean_excess, higher_by=0.01)
"""


@pytest.fixture(scope="module", autouse=True)
def folders(tiny):
    """Two seeds. Models are loaded here, since pytester removes modules that are first imported in an inner run."""
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    made = tiny("gpt_neox", initializer_range=0.02), tiny("gpt_neox", initializer_range=0.03)
    for spec in ("nano:neox-a", *map(str, made)):
        load_model(parse_source(spec))
    return made


def test_a_trained_model_differs_from_its_controls_and_an_untrained_one_does_not(trials):
    """The untrained model fails, its own nulls are named, and every claim has a profile over layers."""
    found = trials.write(UNITS).run(
        NEVER, TOKENS, "--unineuron-model=nano:neox-a", "--unineuron-model=untrained:nano:neox-a"
    )
    assert found.outcome("units[prose]", "untrained:neox-a") == "FAIL"
    assert "not beyond its controls: skew against untrained: P(higher) = 0." in found.reason(
        "units[prose]", "untrained:neox-a"
    )
    (case,) = found.trial("units[prose]")["subjects"]["neox-a"]["cases"]
    assert min(contrast["low"] for contrast in case["contrasts"]) > 0.64
    assert {c["control"] for c in case["contrasts"]} == set(case["controls"])
    assert {arm["standing"] for arm in case["controls"].values()} == {"compared"}
    for contrast in case["contrasts"]:
        layers, values = zip(*contrast["profile"], strict=True)
        assert list(layers) == list(range(len(layers)))
        assert sum(values) / len(values) == pytest.approx(contrast["value"])
    assert "[✗] GT1 new model: FAIL" in found.shown
    assert re.search(
        r"untrained:neox-a on prose 0\.\d+ \[0\.\d+, 0\.\d+\] \(nearest: \w+\) [▁▂▃▄▅▆▇█]{4} ", found.shown
    )


def test_without_seeds_a_verdict_rests_on_the_signature(trials, folders):
    """The run says before it starts what can be decided, and its verdict that universality was not tested."""
    own, _ = folders
    found = trials.write(UNITS + SEEDS).run(NEVER, TOKENS, f"--unineuron-model={own}")
    assert found.outcome("seeds[prose]", own.name) == "NA"
    assert found.report["criteria"]["GT1"]["basis"][own.name].startswith(
        "signature, universality not tested: no further seeds of "
    )
    assert (
        "(signature, universality not tested: no further seeds" in found.summary["Rationale"]["GT1_ModelGeneralization"]
    )
    assert f"does not apply to {own.name}: 1 case (no further seeds of " in found.shown
    found.result.stdout.fnmatch_lines([f"{own.name}:", "  GT1 by units (signature)"])


def test_a_trial_that_decides_and_was_not_selected_leaves_its_criterion_undecided(trials, folders):
    """The run says so before it starts."""
    own, other = folders
    found = trials.write(UNITS + SEEDS).run(
        NEVER, TOKENS, f"--unineuron-model={own}", f"--unineuron-seed={other}", "-k", "units"
    )
    found.result.stdout.fnmatch_lines(["  GT1 by seeds (direct); 1 of 1 not selected, so it will be undecided"])
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "NA"


def test_with_one_further_seed_the_comparison_decides(trials, folders):
    """The signature trial decides nothing then, and the verdict says that it rests on one pair."""
    own, other = folders
    found = trials.write(UNITS + SEEDS).run(NEVER, TOKENS, f"--unineuron-model={own}", f"--unineuron-seed={other}")
    found.result.stdout.fnmatch_lines([f"{own.name}:", "  GT1 by seeds (direct)"])
    outcome = found.outcome("seeds[prose]", own.name)
    verdict = found.report["criteria"]["GT1"]["subjects"][own.name]
    assert (outcome == "PASS") == (verdict == "PASS")
    assert found.report["criteria"]["GT1"]["basis"][own.name] == (
        "" if verdict == "NA" else "direct, from one pair of seeds"
    )


def test_a_question_that_does_not_apply_is_told_from_one_without_an_answer(trials):
    """What a body finds out about the model leaves the trial out; a minimum that is not met leaves it open."""
    body = """
from pytest_unineuron.errors import NotApplicable

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_absent(unineuron_weights):
    raise NotApplicable("this model has no such part")

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_open(unineuron_measure):
    unineuron_measure.needs("parts", 1, at_least=2)
"""
    found = trials.write(body).run(NEVER, "--unineuron-model=nano:neox-a")
    found.result.stdout.fnmatch_lines(["NA (1): *", "  open on neox-a: underpowered: 1 parts, needs 2"])
    found.result.stdout.fnmatch_lines(["does not apply to neox-a: 1 case (this model has no such part)"])


def test_no_control_is_run_for_a_question_that_does_not_apply(trials):
    """Its controls are NA for the same reason, and so where a fixture found it out."""
    body = """
from pathlib import Path
from pytest_unineuron.errors import NotApplicable

HERE = Path(__file__).parent

@pytest.fixture
def part():
    raise NotApplicable("this model has no such part")

@pytest.mark.gt3(source="x", controls=["untrained", "shuffled"])
@pytest.mark.parametrize("absent", [True, False])
def test_body(unineuron_case, absent):
    (HERE / f"{unineuron_case.id} {absent}").touch()
    if absent:
        raise NotApplicable("this model has no such part")
    measure("size", 1, above=0)

@pytest.mark.gt3(source="x", controls=["untrained", "shuffled"])
def test_fixture(unineuron_case, part):
    measure("size", 1, above=0)
"""
    found = trials.write(body).run(NEVER, "--unineuron-model=nano:neox-a")
    ran = sorted(path.name for path in trials.path.glob("neox-a*"))
    assert ran == ["neox-a False", "neox-a True", "neox-a~shuffled False", "neox-a~untrained False"]
    (case,) = found.trial("fixture")["subjects"]["neox-a"]["cases"]
    arms = [case["subject"], *case["controls"].values()]
    assert [(arm["outcome"], arm["reason"]) for arm in arms] == [("NA", "this model has no such part")] * 3


def test_a_lock_is_written_without_a_look_at_the_model(trials):
    """Controls are measured and compared with nothing; under the lock the model is."""
    trials.write(UNITS)
    asked = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained")
    locked = trials.run(FEW, *asked, "--unineuron-write-lock=claim.lock")
    assert locked.ret == 0
    assert locked.report is None
    found = trials.run(NEVER, "--unineuron-lock=claim.lock")
    assert found.outcome("units[prose]") != "NOT_RUN"
    assert found.report["lock_violations"] == []


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("", "units are compared with those of controls; say higher_by=SMALL or more"),
        (", higher_by=0.01", "a distance of 0.01 is none for single units"),
        (", lower_by=1.2", "a distance of 1.2 is none for single units"),
    ],
)
def test_a_claim_about_units_needs_a_probability(trials, claim, message):
    """The error says what was given and what to type."""
    asked = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained")
    found = trials.write(UNITS.replace(", higher_by=MEDIUM", claim)).run(NEVER, FEW, *asked)
    assert re.search(rf"ERROR \(1\): broken units\[prose\] on neox-a: [^*]*{re.escape(message)}", found.shown)
