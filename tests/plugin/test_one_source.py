"""Settings and fixtures are declared in one place: a made-up one of each works everywhere without other changes."""

import json
from dataclasses import dataclass

import pytest

from pytest_unineuron import controls
from pytest_unineuron.options import settings
from pytest_unineuron.options.settings import Affects, Settings, options_of
from pytest_unineuron.plugin import fixture_table
from pytest_unineuron.plugin.fixture_table import REFERENCE, Reads

TRIAL = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_kurtosis(unineuron_neurons, unineuron_measure):
    unineuron_measure("median", float(np.median(unineuron_neurons.kurtosis)), above=1e9)
"""
ARGS = ("--unineuron-corpus=news", "--unineuron-tokens=600", "--unineuron-fail-on=never", "-p", "cacheprovider")


def colour(affects):
    """A class of settings with one more, on which a part of the results is made up to depend."""

    @dataclass(frozen=True)
    class MoreSettings(Settings):
        colour: str = settings.declare("red", "a made-up setting", affects, metavar="COLOUR")

    return MoreSettings


@pytest.fixture
def run_with_colour(request, monkeypatch, trials, two_seeds):
    """Runs of a trial that may be given ``--unineuron-colour``, which affects activations unless parametrized."""
    more = colour(getattr(request, "param", Affects.ACTIVATIONS))
    monkeypatch.setattr(settings, "Settings", more)
    monkeypatch.setattr(settings, "OPTIONS", options_of(more))
    trials.write("import numpy as np\n" + TRIAL)
    return lambda *more: trials.run(f"--unineuron-model={two_seeds[0]}", *ARGS, *more)


class TestSetting:
    """A made-up setting that affects activations, or their rounding."""

    def test_it_is_an_option_in_all_forms_and_part_of_the_report(self, run_with_colour, monkeypatch):
        assert run_with_colour("--unineuron-colour=blue").report["settings"]["colour"] == "blue"
        monkeypatch.setenv("UNINEURON_COLOUR", "green")
        assert run_with_colour().report["settings"]["colour"] == "green"

    @pytest.mark.parametrize("run_with_colour", [Affects.ACTIVATIONS, Affects.ROUNDING], indirect=True)
    def test_it_is_part_of_the_key_of_every_stored_result(self, run_with_colour):
        assert run_with_colour("--unineuron-colour=blue").report["forward_passes"] == 2
        assert run_with_colour("--unineuron-colour=blue").report["forward_passes"] == 0
        assert run_with_colour("--unineuron-colour=green").report["forward_passes"] == 2

    def test_the_command_that_reproduces_a_trial_states_it(self, run_with_colour):
        lines = run_with_colour("--unineuron-colour=blue").result.outlines
        assert any(line.strip().startswith("pytest ") and "--unineuron-colour=blue" in line for line in lines)

    def test_a_lock_holds_to_it(self, run_with_colour, trials):
        assert run_with_colour("--unineuron-colour=blue", "--unineuron-write-lock=claim.lock").ret == 0
        assert json.loads((trials.path / "claim.lock").read_text())["settings"]["colour"] == "blue"
        found = run_with_colour("--unineuron-colour=green", "--unineuron-lock=claim.lock")
        assert found.report["settings"]["colour"] == "blue"
        assert "--unineuron-colour=green is overruled by the lock: blue" in found.result.outlines

    def test_runs_that_differ_in_it_are_not_compared(self, run_with_colour, trials):
        run_with_colour("--unineuron-colour=blue")
        report = trials.path / "evaluation" / "generalization_eval_report.json"
        report.rename(trials.path / "before.json")
        found = run_with_colour("--unineuron-colour=green", "--unineuron-baseline=before.json")
        found.result.stdout.fnmatch_lines(["*colour was blue and is green*"])


FIXTURE = """
import pytest

@pytest.fixture
def my_comparison(unineuron_case):
    return None
"""
ASKS = """
@pytest.mark.gt1(source="x")
def test_mine(my_comparison):
    measure("size", 1, above=0)
"""


def test_the_row_of_a_fixture_that_compares_seeds_is_enough(trials, monkeypatch, two_seeds):
    """Its row adds control arms, a line that announces the comparison, and models and texts to the provenance."""
    row = Reads((controls.ACTIVATIONS, controls.SEEDS), REFERENCE)
    monkeypatch.setitem(fixture_table.FIXTURES, "my_comparison", row)
    (trials.path / "conftest.py").write_text(FIXTURE)
    given = (f"--unineuron-model={two_seeds[0]}", f"--unineuron-seed={two_seeds[1]}", "--unineuron-fail-on=never")
    found = trials.write(ASKS).run(*given)
    ((label, subject),) = found.trial("mine")["subjects"].items()
    (case,) = subject["cases"]
    assert set(case["controls"]) == set(controls.defaults({controls.ACTIVATIONS, controls.SEEDS}))
    made_from = case["subject"]["made_from"]
    assert set(made_from["models"]) == {label, str(two_seeds[1])}
    assert set(made_from["corpora"]) == {"prose"}
    assert f"{label} is compared with {two_seeds[1]}: " in found.shown


def test_every_public_fixture_that_reads_something_has_a_row():
    """Fixtures without a row read only weights, or only pass on the value of another fixture."""
    from pytest_unineuron.plugin import fixtures

    public = {name for name in vars(fixtures) if name.startswith("unineuron_")}
    plain = {"verified", "case", "measure", "arm", "weights", "labelled", "published"}
    assert set(fixture_table.FIXTURES) == public - {f"unineuron_{name}" for name in plain}
