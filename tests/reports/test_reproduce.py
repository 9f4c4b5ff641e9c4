"""The command that runs a case again: its text, and what a shell does with it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.cli.neurons import EXCESS, STATISTICS, VOCABULARY
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports.reproduce import NEURONS_BY, failed_cases, neurons_command
from tests.evidence.made import FILE, arm, evidence, share
from tests.plugin.inner import BLOCKED, ONE

HERE = ("heavy", "news", "m")
ASKED = {"paths": ["evals"], "models": ["m", "n"], "corpora": ["prose", "news", "mine"]}
SPECS = {"model": ["./folder/m", "owner/n@main"], "corpus": ["news", "my texts/mine.txt"]}


def commands(cases=None, **more):
    found = evidence(cases or {HERE: arm(share(0.2))}, asked={**ASKED, **more.pop("asked", {})}, **more)
    return [shlex.split(each.command(found)) for each in failed_cases(found)]


def test_a_command_names_function_model_and_corpus_as_they_were_typed():
    """A label is translated to the spec that was typed for it."""
    (typed,) = commands({("heavy", "mine", "n"): arm(share(0.2))}, settings=SPECS)
    assert typed == [
        "pytest",
        f"{FILE}::test_heavy",
        "--unineuron-model=owner/n@main",
        "--unineuron-corpus=my texts/mine.txt",
    ]


def test_a_spec_is_found_in_the_report_if_labels_and_specs_do_not_pair():
    """The spec of a loaded model is in the report; without one, the label itself is used."""
    (typed,) = commands(asked={"models": ["m"], "corpora": ["prose"]}, models={"m": {"spec": "hub/m"}})
    assert typed[2:4] == ["--unineuron-model=hub/m", "--unineuron-corpus=news"]


def test_a_command_has_every_setting_that_results_depend_on_and_no_other():
    """Settings at their default are left out, and so are those of baselines and output."""
    settings = {
        "seed": ["a", "b"],
        "tokens": 900,
        "holm": True,
        "dtype": "float64",
        "controls": ["untrained"],
        "out": "o",
        "baseline": "b",
        "tolerate": ["none"],
        "across": ["weights"],
        "waive": ["w"],
        "lock": "l",
        "fail_on": "never",
        "threads": 3,
    }
    (typed,) = commands(settings={**settings, **SPECS})
    assert set(typed[2:]) == {
        "--unineuron-model=./folder/m",
        "--unineuron-corpus=news",
        "--unineuron-seed=a",
        "--unineuron-seed=b",
        "--unineuron-tokens=900",
        "--unineuron-holm",
        "--unineuron-dtype=float64",
        "--unineuron-controls=untrained",
    }


@pytest.mark.parametrize(
    ("trial", "claim", "arguments"),
    [
        ("t", share(0.9, name="share of universal neurons"), ["--by=excess"]),
        ("universal_neurons_have_a_signature", Measurement("bias", 0.3, lower_by=0.56, by_unit=True), ["--by=excess"]),
        ("logit_neurons_are_late", share(0.9, name="share with kurtosis above 10"), ["--by=vocabulary"]),
        ("t", share(0.9, name="share of suppression neurons"), ["--by=vocabulary"]),
        ("t", share(0.9, name="share with kurtosis above 4.5"), ["--by=kurtosis"]),
        ("t", Measurement("density", 0.3, lower_by=0.56, by_unit=True), ["--by=density", "--lowest"]),
        ("t", share(0.9, name="mean excess of residual dimensions"), []),
        ("heads_single_out_tokens", share(0.9, name="median kurtosis over the vocabulary"), []),
        ("t", share(0.9, name="attention to BOS"), []),
        ("universal_neurons_matter", None, ["--by=excess"]),
    ],
)
def test_the_neurons_behind_a_case_are_listed_by_a_command(trial, claim, arguments):
    """It sorts by the statistic that the trial is about, on its model and text; other units have no command."""
    settings = {**SPECS, "seed": ["s 1"], "tokens": 900}
    run = evidence({(trial, "mine", "n"): arm(*filter(None, [claim]))}, asked=ASKED, settings=settings)
    (case,) = run.cases
    start = ["pytest-unineuron", "neurons", "owner/n@main"]
    rest = ["--corpus=my texts/mine.txt", "--seed=s 1", "--tokens=900"]
    assert shlex.split(neurons_command(run, case)) == ([*start, *arguments, *rest] if arguments else [])


def test_the_command_sorts_by_what_neurons_can_be_sorted_by():
    assert set(NEURONS_BY.values()) <= {EXCESS, VOCABULARY, *STATISTICS}


@pytest.mark.parametrize(
    ("root", "path"), [("..", "../" + FILE), (".", FILE), ("sub/folder", "sub/folder/" + FILE), ("", FILE)]
)
def test_a_path_is_relative_to_the_folder_where_pytest_was_started(root, path):
    """The root folder of pytest may be above that folder or below it."""
    (typed,) = commands(asked={"root": root})
    assert typed[1] == f"{path}::test_heavy"


def test_failed_cases_are_listed_once_and_in_order():
    """Regressed cases come first, then broken ones, then missed ones; passing cases are left out."""
    before = evidence({("worse", "news", "m"): arm(share(0.9)), ("gone", "news", "m"): arm(share(0.9))})
    after = evidence(
        {
            ("missed", "news", "m"): arm(share(0.2)),
            ("fine", "news", "m"): arm(share(0.9)),
            ("broken", "news", "m"): arm(outcome=Outcome.ERROR, reason="boom"),
            ("worse", "news", "m"): arm(share(0.2)),
        }
    )
    found = failed_cases(after, compare(before, after))
    assert [(each.kind, each.name) for each in found] == [
        ("regressed", "worse[news] on m"),
        ("ERROR", "broken[news] on m"),
        ("FAIL", "missed[news] on m"),
    ]


@pytest.mark.parametrize(("fail_on", "kinds"), [("trial", ["FAIL"]), ("never", [])])
def test_a_vacuous_miss_is_listed_if_its_test_failed(fail_on, kinds):
    """A case whose subject misses while a control holds is listed under --unineuron-fail-on=trial."""
    found = evidence({HERE: arm(share(0.2))}, control=0.9, settings={"fail_on": fail_on})
    assert [each.kind for each in failed_cases(found)] == kinds


TRIALS = """
def size(case):
    return 0.1 if case.control else 0.2 + len(case.corpus) / 100

@pytest.mark.gt1(source="x", controls=["untrained"])
def test_fine(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)

class TestClass:
    @pytest.mark.gt2(source="x", controls=["untrained"], trial="by_corpus")
    def test_corpora(self, unineuron_case, unineuron_corpus):
        measure("size", 0.9 if unineuron_corpus == "news" and not unineuron_case.control else size(unineuron_case),
                above=0.5)

@pytest.mark.gt3(source="x", controls=["untrained"])
@pytest.mark.parametrize("text", ["plain", "ünï'cödé [x]; echo $HOME"])
def test_variants(unineuron_case, text):
    measure("length", float(len(text)) if unineuron_case.control == "" else 0.1, above=6)

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_broken(unineuron_case, request):
    measure("draw", unineuron_case.draw)
    raise RuntimeError(f"draw {unineuron_case.draw} of {request.config.getoption('unineuron_tokens')}")
"""
CONTROLS = ("--unineuron-controls=untrained", "--unineuron-control-draws=2", "--unineuron-tokens=900")


def cases(report):
    """The outcome, the reason and all measurements of every case of a report that ran."""
    return {
        (trial["name"], model, case["variant"]): (
            case["outcome"],
            case["reason"],
            {
                name: [(m["name"], m["value"]) for m in one["measurements"]]
                for name, one in {"subject": case["subject"], **case["controls"]}.items()
            },
        )
        for trial in report["trials"]
        for model, subject in trial["subjects"].items()
        for case in subject["cases"]
        if case["outcome"] != "NOT_RUN"
    }


def shell(command, folder):
    """The output of a shell that runs a command, with the pytest of this process."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    lean = " ".join(f"-p no:{name}" for name in BLOCKED)
    here = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    environment = {**here, "PATH": path, "PYTEST_ADDOPTS": lean}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True).stdout


def run_again(found, started):
    """Run every command that a run showed in a shell. Returns the cases that each of them ran."""
    lines = found.result.stdout.lines
    shown = lines[lines.index("To run again what failed:") + 1 :]
    typed = [line.strip() for line in shown if line.startswith("  pytest ")]
    ran = []
    for command in typed:
        shell(command, started)
        report = started / "evaluation" / "generalization_eval_report.json"
        ran.append(cases(json.loads(report.read_text(encoding="utf-8"))))
        report.unlink()
    return ran


posix = pytest.mark.skipif(os.name == "nt", reason="a command is quoted for a POSIX shell")


@posix
@pytest.mark.slow
def test_each_command_runs_one_case_with_the_same_results(trials):
    """The trials are one in a class with corpora, a parametrized one with quotes in its id, and a broken one."""
    model = trials.path / "my model's folder"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").touch()
    (trials.path / "my texts.txt").write_text("Text.\n\nMore.")
    asked = (
        "--unineuron-model=nano:neox-a",
        f"--unineuron-model=./{model.name}",
        "--unineuron-corpus=news",
        "--unineuron-corpus=my texts.txt",
        *CONTROLS,
    )
    found = trials.write(TRIALS).run(*asked, "-k", "not neox-a-plain and not fine and not (broken and neox)")
    before = cases(found.report)
    failed = [key for key, (outcome, *_) in before.items() if outcome in ("FAIL", "ERROR")]
    assert {name for name, *_ in failed} == {"by_corpus[my texts]", "broken", "variants"}
    ran = run_again(found, trials.path)
    assert sorted(key for each in ran for key in each) == sorted(failed)
    assert [list(each.values()) for each in ran] == [[before[key] for key in each] for each in ran]


PLAIN = """
@pytest.mark.gt3(source="x", controls=["untrained"])
def test_plain(unineuron_case):
    measure("size", 0.3, above=0.5)
"""


@posix
@pytest.mark.parametrize(
    ("ini", "started", "given"),
    [(".", "sub/deep", "../.."), ("sub", ".", "sub"), (None, "sub", "../test_trials.py")],
    ids=["started below the root folder", "started above it", "without an ini file"],
)
def test_a_command_works_where_pytest_was_started(trials, monkeypatch, ini, started, given):
    """A command runs its case from the folder where pytest was started, wherever the root folder is."""
    (trials.path / "sub" / "deep").mkdir(parents=True)
    file = trials.path / ("sub" if ini == "sub" else "") / "test_trials.py"
    trials.write(PLAIN).path.joinpath("test_trials.py").rename(file)
    if ini:
        (trials.path / ini / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(trials.path / started)
    result = trials.pytester.runpytest_inprocess(*ONE, given, "-p", "no:cacheprovider")
    lines = result.stdout.lines
    command = lines[lines.index("To run again what failed:") + 1]
    assert "1 failed, 1 passed" in shell(command, trials.path / started)


def test_a_terminal_shows_ten_commands_and_the_report_all(trials):
    """The terminal counts the commands beyond the tenth."""
    trials.write(
        PLAIN.replace("def test", "@pytest.mark.parametrize('n', range(12))\ndef test").replace("case)", "case, n)")
    )
    found = trials.run(*ONE, "--tb=no", "-q")
    lines = found.result.stdout.lines
    assert sum(line.startswith("  pytest ") for line in lines) == 10
    assert "  and 2 more in the report" in lines
    report = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
    assert report.count("\n  pytest ") == 12


def test_a_run_without_failures_shows_no_commands(trials):
    """Neither the terminal nor the report has a heading for commands."""
    found = trials.write(PLAIN.replace("0.3", "0.1 if unineuron_case.control else 0.9")).run(*ONE)
    found.result.stdout.no_fnmatch_line("*To run again*")
    report = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
    assert "Reproduce" not in report
