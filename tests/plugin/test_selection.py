"""Runs of some of the trials: those that were left out are NOT_RUN and never pass."""

import re

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.reports.write import REPORT
from tests.plugin.inner import HOLDS, MISSES, ONE, WORKERS

MORE = HOLDS.replace("good", "other").replace("gt1", "gt2")


def outcomes(found):
    return {trial["name"]: trial["subjects"]["neox-a"]["outcome"] for trial in found.report["trials"]}


@pytest.mark.parametrize(
    "selection", [("-k", "good"), ("-m", "gt1"), ("--deselect=test_trials.py::test_other",), ("-k", "good", "-n2")]
)
def test_a_part_of_the_trials(trials, selection):
    """A deselected trial is NOT_RUN and its criterion is NA, with and without workers."""
    found = trials.write(HOLDS + MORE).run(*ONE, *selection)
    assert found.ret == 0
    assert outcomes(found) == {"good": "PASS", "other": "NOT_RUN"}
    assert found.summary["Checklist"] == {
        "GT1_ModelGeneralization": "PASS",
        "GT2_DataGeneralization": "NA",
        "GT3_MethodGeneralization": "NA",
    }


SEVERAL = """
@pytest.mark.gt1(source="x", controls=["untrained", "shuffled"])
@pytest.mark.parametrize("size", [3, 4])
def test_sizes(unineuron_case, size):
    measure("size", 0 if unineuron_case.control else size, above=2)

class TestClass:
    @pytest.mark.gt2(source="x")
    def test_corpora(self, unineuron_case, unineuron_corpus):
        measure("size", 0 if unineuron_case.control else 3, above=2)

@pytest.mark.gt1(source="x", primary=True)
def test_primary(unineuron_case):
    measure("size", 0 if unineuron_case.control else 3, above=2)

def test_no_trial():
    pass
"""
MODEL = "--unineuron-model=nano:neox-a"
SUBJECT = "test_trials.py::test_sizes[neox-a-4]"


def ran(found):
    """The node ids of the arms that ran, in order."""
    return [
        arm["nodeid"].partition("::")[2]
        for trial in found.report["trials"]
        for case in trial["subjects"]["neox-a"]["cases"]
        for arm in (case["subject"], *case["controls"].values())
        if arm["outcome"] != "NOT_RUN"
    ]


@pytest.mark.parametrize(
    "selection",
    [
        (SUBJECT,),
        ("-k", "test_sizes and neox-a-4 and not untrained and not shuffled"),
        (SUBJECT, "-k", "neox-a-4"),
        (SUBJECT, "-n2"),
        ("-k", "neox-a-4", "-n2"),
        (SUBJECT, "test_trials.py::test_no_trial"),
        ("--deselect=test_trials.py::TestClass", "-k", "neox-a-4"),
    ],
)
def test_controls_run_along_with_their_model(trials, selection):
    """Whatever selects the item of a model, the control arms of the same case run, and no others."""
    found = trials.write(SEVERAL).run(MODEL, *selection)
    assert found.ret == 0
    assert ran(found) == [f"test_sizes[neox-a{arm}-4]" for arm in ("", "~untrained", "~shuffled")]
    (case, other) = found.trial("sizes")["subjects"]["neox-a"]["cases"]
    assert (case["outcome"], other["outcome"]) == ("PASS", "NOT_RUN")
    if "-n2" not in selection:
        found.result.stdout.fnmatch_lines(["control arms that run along with the models that were selected: 2"])


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "selection", [("-k", "sizes", f"--deselect={SUBJECT}"), ("-k", "sizes and not test_sizes[neox-a-4]")]
)
def test_controls_do_not_run_without_their_model(trials, selection, workers):
    """Its control arms are deselected with it, and those of another case run."""
    found = trials.write(SEVERAL).run(MODEL, *selection, workers)
    assert found.ret == 0
    assert ran(found) == [f"test_sizes[neox-a{arm}-3]" for arm in ("", "~untrained", "~shuffled")]


def test_a_control_that_is_named_runs_without_its_model(trials):
    """Its name in an expression asks for it, and not for other controls of a deselected model."""
    trials.write(SEVERAL)
    assert ran(trials.run(MODEL, "-k", "sizes and untrained and 4")) == ["test_sizes[neox-a~untrained-4]"]
    names = ran(trials.run(MODEL, "-k", "untrained or test_sizes", f"--deselect={SUBJECT}"))
    assert [name for name in names if "-4" in name] == ["test_sizes[neox-a~untrained-4]"]


def test_controls_run_along_in_a_class_and_on_a_corpus(trials):
    """The arms of one corpus of a method run, not those of another."""
    found = trials.write(SEVERAL).run(MODEL, "test_trials.py::TestClass::test_corpora[neox-a-code]")
    assert len(ran(found)) > 3
    assert {name.partition("~")[0].rstrip("]") for name in ran(found)} == {"TestClass::test_corpora[neox-a-code"}
    assert found.outcome("corpora[code]") == "PASS"


def test_a_control_runs_alone(trials):
    """The node id of a control selects nothing else, and a deselected model does not take it away."""
    arm = "test_trials.py::test_sizes[neox-a~shuffled-4]"
    found = trials.write(SEVERAL).run(MODEL, arm)
    assert ran(trials.run(MODEL, arm, SUBJECT, f"--deselect={SUBJECT}")) == ["test_sizes[neox-a~shuffled-4]"]
    assert ran(found) == ["test_sizes[neox-a~shuffled-4]"]
    assert found.outcome("sizes") == "NOT_RUN"


def test_primary_trials_that_were_left_out_decide_nothing(trials):
    """A part of a file is judged by the policy of the whole: without its primary trial the criterion is NA."""
    found = trials.write(SEVERAL).run(MODEL, SUBJECT)
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "NA"
    assert "NA under policy 'primary': " in found.summary["Rationale"]["GT1_ModelGeneralization"]
    assert "primary*: deselected" in found.summary["Rationale"]["GT1_ModelGeneralization"]


def test_another_policy_is_named(trials):
    """Without any primary trial the checklist says by which policy a criterion was judged."""
    found = trials.write(SEVERAL).run(MODEL)
    assert "GT1 new model: PASS (neox-a PASS, " in found.shown
    assert "GT2 new data: PASS by policy all, as no primary trial was collected (neox-a PASS, " in found.shown


@pytest.mark.parametrize("selection", [("-k", "nothing"), ("-m", "not gt1")])
def test_nothing_selected(trials, selection):
    """The exit status is 5, as in pytest, and no report is written."""
    found = trials.write(HOLDS).run(*ONE, *selection)
    assert found.ret == 5
    assert (found.summary, found.report) == (None, None)


@pytest.mark.parametrize("quiet", ["-q", "-qq", "-v"])
def test_collecting_only(trials, quiet):
    """Nothing is judged or written, and the exit status is 0."""
    found = trials.write(HOLDS).run(*ONE, "--co", quiet, "-n2")
    assert found.ret == 0
    assert found.report is None
    found.result.stdout.no_fnmatch_line("*do they generalize*")


@pytest.mark.parametrize("workers", WORKERS)
def test_last_failed(trials, workers):
    """Only the failed subject runs again, with its control, also where pytest skips the files of other trials."""
    trials.write(HOLDS + MISSES).write(HOLDS.replace("good", "elsewhere"), "test_other.py")
    assert trials.run(*ONE, "-p", "cacheprovider").ret == 1
    found = trials.run(*ONE, "-p", "cacheprovider", "--lf", workers)
    assert found.ret == 1
    found.result.assert_outcomes(failed=1, passed=1)
    assert outcomes(found) == {"bad": "FAIL", "good": "NOT_RUN"}
    assert set(found.summary["Checklist"].values()) == {"NA", "FAIL"}


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_last_failed_without_a_failure_is_a_whole_run(trials, option):
    """So a trial that is gone is missing, and not one that was left out."""
    trials.write(HOLDS).write(HOLDS.replace("good", "elsewhere"), "test_other.py")
    cached = (*ONE, "-p", "cacheprovider", "-p", "stepwise")
    trials.run(*cached, option)
    baseline = trials.path / "baseline.json"
    assert main(["accept", str(trials.path / "evaluation" / REPORT), "--baseline", str(baseline)]) == 0
    (trials.path / "test_other.py").unlink()
    found = trials.run(*cached, option, f"--unineuron-baseline={baseline}")
    assert (found.ret, found.report["asked"]["part"]) == (21, [])


def test_failed_first(trials):
    """Another order of items gives the same verdicts."""
    first = trials.write(HOLDS + MISSES).run(*ONE, "-p", "cacheprovider")
    again = trials.run(*ONE, "-p", "cacheprovider", "--ff")
    assert (first.ret, first.summary) == (again.ret, again.summary)
    assert outcomes(again) == {"good": "PASS", "bad": "FAIL"}


def test_stepwise(trials):
    """The run stops at the first failure, and the next run starts there. Trials before and after it are NOT_RUN."""
    first = trials.write(HOLDS + MISSES + MORE).run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(first) == {"good": "PASS", "bad": "NA", "other": "NOT_RUN"}
    again = trials.run(*ONE, "-p", "cacheprovider", "--sw")
    assert outcomes(again) == {"good": "NOT_RUN", "bad": "NA", "other": "NOT_RUN"}
    assert (first.ret, again.ret) == (2, 2)


def test_stopping_after_some_failures(trials):
    """With --maxfail, finished trials count and the others are NOT_RUN."""
    body = MISSES + MISSES.replace("bad", "worse") + HOLDS
    found = trials.write(body).run(*ONE, "--maxfail=2")
    assert found.ret == 1
    assert outcomes(found) == {"bad": "FAIL", "worse": "NA", "good": "NOT_RUN"}


READS_TEXT = """
@pytest.mark.gt3(source="x", controls=["untrained"])
def test_text(unineuron_neurons):
    pass

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_more_text(unineuron_neurons):
    pass

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_weights(unineuron_weights):
    pass
"""


def test_trials_without_a_pass_come_first_for_each_model_and_those_of_an_arm_together(trials):
    found = trials.write(READS_TEXT).run("--collect-only", "-q")
    listed = [line.partition("::test_")[2] for line in found.result.outlines if "::" in line]
    assert listed == [
        each.format(model)
        for model in ("neox-a", "gpt2-a")
        for each in (
            "weights[{}]",
            "weights[{}~untrained]",
            "text[{}-prose]",
            "more_text[{}-prose]",
            "text[{}-prose~untrained]",
            "more_text[{}-prose~untrained]",
        )
    ]


def test_the_default_models_divide_the_criteria_between_them(trials):
    """One is new, the other is read on new data; models that are named answer for everything."""
    trials.write(HOLDS + MORE + HOLDS.replace("good", "third").replace("gt1", "gt3"))
    collected = re.findall(r"test_(\w+)\[(\w+-a)\]", trials.run("--collect-only", "-q").shown)
    assert set(collected) == {("good", "neox-a"), ("other", "gpt2-a"), ("third", "neox-a"), ("third", "gpt2-a")}
    both = "--unineuron-model=nano:neox-a", "--unineuron-model=nano:gpt2-a"
    collected = re.findall(r"test_(\w+)\[(\w+-a)\]", trials.run("--collect-only", "-q", *both).shown)
    assert set(collected) == {(name, model) for name in ("good", "other", "third") for model in ("neox-a", "gpt2-a")}


def test_one_text_comes_after_the_other_where_seeds_are_compared(trials, two_seeds):
    """The reference first, so that the activations of seeds are in memory for one text at a time."""
    body = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_new_data(unineuron_universality, unineuron_corpus):
    measure("documents", 1, above=0)

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_reference(unineuron_universality):
    measure("documents", 1, above=0)
"""
    own, other = two_seeds
    options = (f"--unineuron-model={own}", f"--unineuron-seed={other}", "--unineuron-corpus=code")
    found = trials.write(body).run(*options, "--unineuron-corpus=news", "--collect-only", "-q")
    shown = [line for line in found.result.stdout.lines if "::" in line]
    assert [line.partition("[")[2].rstrip("]").partition("-")[2] for line in shown] == [
        f"{text}{arm}" for text in ("prose", "code", "news") for arm in ("", "~untrained")
    ]
