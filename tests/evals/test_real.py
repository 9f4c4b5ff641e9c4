"""The suite's core on real models, where they are installed: every verdict has a reason, and no null model gets one."""

import pytest

from tests.evals.shared import get_or_compute
from tests.evals.test_suite import run

pytestmark = pytest.mark.real
CORE = (
    "-k",
    "heavy_tailed_neurons or mostly_off or heavy_tails_replicate or head_circuits",
    "--unineuron-tokens=9000",  # sinks are left out, and 8 000 are needed
    "--unineuron-corpus=news",
)
DIRECT = "universality not tested: no further seeds of "


@pytest.fixture(scope="session", params=["smollm2", "minilm"])
def report(request, tmp_path_factory):
    """The report of the core on a real model."""
    folder = request.getfixturevalue(request.param)
    compute = lambda out: run(out, *CORE, f"--unineuron-model={folder}")  # noqa: E731 - one line each
    return get_or_compute(tmp_path_factory, f"real-{request.param}", compute)[0]


def cases(report):
    return [
        (trial, case)
        for trial in report["trials"]
        for subject in trial["subjects"].values()
        for case in subject["cases"]
        if case["outcome"] != "NOT_RUN"
    ]


def test_every_trial_comes_to_an_outcome_with_a_reason(report):
    """Nothing breaks, and what is not decided says what is missing."""
    assert cases(report)
    for trial, case in cases(report):
        assert case["outcome"] in ("PASS", "FAIL", "NA"), (trial["name"], case["reason"])
        assert case["reason"], trial["name"]


def test_every_comparison_was_made_with_every_control(report):
    """A trial that compares units has a contrast with each of its controls, with an interval and a profile."""
    compared = [(trial, case) for trial, case in cases(report) if case["contrasts"]]
    assert compared
    for trial, case in compared:
        assert {c["control"] for c in case["contrasts"]} == set(case["controls"]), trial["name"]
        for contrast in case["contrasts"]:
            assert contrast["low"] <= contrast["value"] <= contrast["high"]
            assert len(contrast["profile"]) > 5


def test_the_verdicts_rest_on_the_signature(report):
    """No seeds of these models are known, and what was decided says so."""
    said = [basis for line in report["criteria"].values() for basis in line["basis"].values() if basis]
    assert all(DIRECT in basis for basis in said)
    decided = [id_ for id_, line in report["criteria"].items() if line["verdict"] != "NA"]
    assert len(said) == len(decided)


def test_the_same_model_untrained_passes_nothing(minilm, tmp_path):
    """Its controls are models like it."""
    found, _ = run(tmp_path, *CORE, f"--unineuron-model=untrained:{minilm}")
    assert [case["outcome"] for _, case in cases(found)].count("PASS") == 0
    assert "PASS" not in {line["verdict"] for line in found["criteria"].values()}
