"""Every trial that can fail is seen to pass where its effect is planted, and to fail on its controls."""

import json
import subprocess
import sys

import pytest

from pytest_unineuron.reports.write import REPORT
from tests.evals.catalogue import EVALS, catalogue
from tests.evals.once import once


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The report of the whole suite on the planted model."""
    return once(tmp_path_factory, "planted", run)


def run(folder):
    from tests.evals.planted import publish, save

    publish(folder)
    own, *seeds = [save(folder / name, seed) for seed, name in enumerate(("planted", "second", "third"))]
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(EVALS),
        "-q",
        "-p",
        "no:cacheprovider",
        "--unineuron-fail-on=never",
        f"--unineuron-model={own}",
        f"--unineuron-out={folder}",
        f"--unineuron-findings={folder}",
        "--unineuron-corpus=news",
    ]
    done = subprocess.run(
        [*command, *(f"--unineuron-seed={seed}" for seed in seeds)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return json.loads((folder / REPORT).read_text(encoding="utf-8"))


KNOWN_VACUOUS = "density_persists[news]"


def trials(report, *, notebook):
    return {
        t["name"]: t["subjects"]["planted"]
        for t in report["trials"]
        if (t["source"] == "notebook") is notebook and t["name"] != KNOWN_VACUOUS
    }


def functions(names):
    """The functions of trials: their names without the corpus."""
    return {name.partition("[")[0] for name in names}


def test_every_trial_was_run(report):
    assert functions(t["name"] for t in report["trials"]) == set(catalogue())


def test_trials_that_can_fail_pass_on_the_planted_model(report):
    """All of them, heads, number words and what compares seeds included."""
    found = trials(report, notebook=False)
    outcomes = {name: subject["outcome"] for name, subject in found.items()}
    assert outcomes == dict.fromkeys(found, "PASS"), {name: subject["reason"] for name, subject in found.items()}


def test_their_controls_miss(report):
    """Every control of every one of them finished and did not show the effect."""
    for name, subject in trials(report, notebook=False).items():
        (case,) = subject["cases"]
        assert case["controls"], name
        assert {arm["standing"] for arm in case["controls"].values()} == {"missed"}, name


def test_labels_have_their_own_control(report):
    """Every trial that labels neurons is rerun with the labels on other neurons of the layer, and only these are."""
    found = {
        name
        for name, subject in trials(report, notebook=False).items()
        if "permuted-labels" in subject["cases"][0]["controls"]
    }
    assert functions(found) == {name for name, named in catalogue().items() if "N6" in named} != set()


def test_none_of_the_notebooks_trials_passes(report):
    """What they measure is there in the controls too."""
    outcomes = {name: subject["outcome"] for name, subject in trials(report, notebook=True).items()}
    assert set(outcomes.values()) == {"VACUOUS"}, outcomes


def test_what_any_fixed_function_shows_is_vacuous(report):
    """Density persists in an untrained model too."""
    (found,) = [t["subjects"]["planted"] for t in report["trials"] if t["name"] == KNOWN_VACUOUS]
    assert found["outcome"] == "VACUOUS"
    assert {arm["standing"] for arm in found["cases"][0]["controls"].values()} == {"held"}


def test_the_criteria_are_supported(report):
    """With every discriminating trial passing, so do all three criteria."""
    verdicts = {id_: line["verdict"] for id_, line in report["criteria"].items()}
    assert verdicts == {"GT1": "PASS", "GT2": "PASS", "GT3": "PASS"}
