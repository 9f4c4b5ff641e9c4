"""``--unineuron-controls`` and ``--unineuron-control-draws``: the control arms of a trial."""

import pytest
from safetensors import safe_open

from pytest_unineuron import controls, zoo
from pytest_unineuron.models.published import TABLES_FOLDER

CLAIM = """
@pytest.mark.gt1(source="x"{more})
def test_claim(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
MODEL = "--unineuron-model=nano:neox-a"


def run(trials, *args, more=""):
    return trials.write(CLAIM.format(more=more)).run(MODEL, *args)


def defaults(*replaced):
    """The default controls that replace one of these."""
    return [name for name, row in controls.CONTROLS.items() if row.default and row.replaces in replaced]


def test_default_controls_without_activations(trials):
    """Rotation is defined for activations only, so a trial on weights has no such arm."""
    assert list(run(trials).arms("claim")) == defaults(controls.MODEL)


def test_default_controls_with_activations(trials):
    """A trial that asks for sweeps also gets the rotation and controls of the text."""
    text = CLAIM.format(more="").replace("unineuron_case)", "unineuron_case, unineuron_sweeps)")
    found = list(trials.write(text).run(MODEL).arms("claim"))
    assert found == defaults(controls.MODEL, controls.UNITS, controls.TEXT)
    assert "rotation" in found


def test_named_controls_replace_the_default(trials):
    """The arms are the named controls in their order."""
    found = run(trials, "--unineuron-controls=shuffled", "--unineuron-controls=untrained")
    assert list(found.arms("claim")) == ["shuffled", "untrained"]


def test_none_makes_every_claim_uncontrolled(trials):
    """Without a control arm the outcome is NA."""
    found = run(trials, "--unineuron-controls=none")
    assert found.outcome("claim") == "NA"
    assert found.reason("claim").startswith("uncontrolled: no control finished; size = 0.9")


def test_a_trial_that_lists_its_controls_gets_no_others(trials):
    """A control that the option names but the marker does not list is not run for this trial."""
    found = run(
        trials, "--unineuron-controls=shuffled", "--unineuron-controls=untrained", more=", controls=['untrained']"
    )
    assert list(found.arms("claim")) == ["untrained"]


def test_a_control_that_changes_nothing_a_trial_reads_is_not_added(trials):
    """A trial on weights reads no text: with other text, the arm would be equal to the subject."""
    found = run(trials, "--unineuron-controls=default", "--unineuron-controls=random-tokens")
    assert "random-tokens" not in found.arms("claim")


def test_every_draw_of_a_control_is_an_arm(trials):
    """With --unineuron-control-draws=2 each control has two arms."""
    found = run(trials, "--unineuron-control-draws=2", "--unineuron-controls=shuffled")
    assert list(found.arms("claim")) == ["shuffled", "shuffled.2"]


@pytest.mark.parametrize("draws", [1, 2])
def test_fewer_controls_than_declared_never_pass(trials, draws):
    """The reason of NA names the controls that the claim was held against, whatever the number of their draws."""
    found = run(trials, "--unineuron-controls=shuffled", f"--unineuron-control-draws={draws}")
    assert found.outcome("claim") == "NA"
    assert found.reason("claim").startswith("against 1 of 3 controls: shuffled; size = 0.9")
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "NA"


def test_every_control_that_a_marker_declares_is_enough(trials):
    """A trial that declares one control passes against it."""
    more = ", controls=['shuffled']"
    assert run(trials, "--unineuron-controls=shuffled", more=more).outcome("claim") == "PASS"
    fewer = run(trials, "--unineuron-controls=untrained", more=more)
    assert fewer.reason("claim").startswith("uncontrolled: no control finished")


@pytest.mark.parametrize("arm", ["untrained", "shuffled"])
def test_controls_that_were_deselected_by_their_id_did_not_run(trials, arm):
    """A claim whose control was deselected cannot pass."""
    more = ", controls=['untrained', 'shuffled']"
    found = run(trials, f"--deselect=test_trials.py::test_claim[neox-a~{arm}]", more=more)
    assert found.arms("claim")[arm]["outcome"] == "NOT_RUN"
    assert found.outcome("claim") == "NA"
    assert found.reason("claim").startswith("against 1 of 2 controls: ")
    assert f"; without {arm}; size" in found.reason("claim")
    found.result.stdout.fnmatch_lines(["  claim on neox-a: against 1 of 2 controls: *"])


PUBLISHED = """
@pytest.mark.gt2(source="x", controls=["other-seed"])
def test_claim(unineuron_published, unineuron_weights):
    measure("labelled", unineuron_published.sum(), above=0)
    measure("bias", unineuron_weights.raw_bias[0], below=99)
"""


@pytest.mark.parametrize("seeds", [(), ("nano:neox-c",)])
def test_another_seed_has_other_weights_under_the_same_labels(trials, nano_modules, seeds):
    """Trials on published neurons have this control. Its weights are those of the first further seed.

    There are no more draws than further seeds, in which each would be counted again.
    """
    folder = trials.path / TABLES_FOLDER / "neox-a"
    folder.mkdir(parents=True)
    (folder / "universal.csv").write_text("layer,neuron,input_bias,skew,kurt\n0,3,0,1,5\n", encoding="utf-8")
    given = (f"--unineuron-seed={seed}" for seed in seeds)
    options = ["--unineuron-findings=.", "--unineuron-corpus=news", "--unineuron-control-draws=3", *given]
    found = trials.write(PUBLISHED).run(MODEL, *options)
    (case,) = found.trial("claim")["subjects"]["neox-a"]["cases"]
    assert list(case["controls"]) == ["other-seed", "other-seed.2"][: len(seeds) or 2]
    arms = [case["subject"], case["controls"]["other-seed"]]
    labelled, bias = ([m["value"] for m in values] for values in zip(*(a["measurements"] for a in arms), strict=True))
    assert labelled == [1, 1]
    expected = []
    for name in ("neox-a", *(seed.removeprefix("nano:") for seed in seeds or ["neox-b"])):
        with safe_open(next(zoo.folders()[name].glob("*.safetensors")), "np") as file:
            expected.append(file.get_tensor("gpt_neox.layers.0.mlp.dense_h_to_4h.bias")[0])
    assert bias == pytest.approx(expected)
    assert bias[0] != bias[1]
