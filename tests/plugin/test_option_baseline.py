"""``--unineuron-baseline``: the comparison of a run with an accepted report, and which differences fail the run."""

import re
import shutil

import pytest

from pytest_unineuron.cli.main import main

ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained")
CLAIMS = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_corpora(unineuron_case, unineuron_corpus):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt3(source="x", controls=["untrained"])
def test_weights(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.2, above=0.5)
"""
BASELINE = "--unineuron-baseline=base.json"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A file for the report of the first test's run, which is the same in all of them."""
    return tmp_path_factory.mktemp("accepted") / "base.json"


@pytest.fixture
def accepted(trials, monkeypatch, kept):
    """Trials of which one fails, with the report of a run as the accepted baseline."""
    monkeypatch.chdir(trials.path)
    trials.write(CLAIMS)
    if not kept.exists():
        trials.run(*ARGS, "--unineuron-fail-on=never")
        assert main(["accept", "--baseline", str(kept)]) == 0
    shutil.copy(kept, "base.json")
    return trials


def counts(run):
    """The number of cases in each state, as printed. They add up to the number of compared cases."""
    (line,) = [line for line in run.result.outlines if line.startswith("Against the baseline: ")]
    total, _, states = line.removeprefix("Against the baseline: ").partition(" cases: ")
    found = {state: int(n) for n, state in re.findall(r"(\d+) ([a-z ]+)", states)}
    assert sum(found.values()) == int(total)
    return found


def test_a_known_fail_does_not_fail_the_run(accepted):
    """With a baseline, --unineuron-fail-on is regression by default. The FAIL stays in the report."""
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 0
    assert counts(found) == {"same": 4}
    assert found.outcome("weights") == "FAIL"


@pytest.mark.parametrize(("fail_on", "status"), [("trial", 1), ("criterion", 20), ("never", 0), ("regression", 0)])
def test_fail_on_decides_what_fails_the_run(accepted, fail_on, status):
    """The comparison is shown with every choice."""
    found = accepted.run(*ARGS, BASELINE, f"--unineuron-fail-on={fail_on}")
    assert found.ret == status
    assert counts(found) == {"same": 4}


def test_a_regression_ends_with_21(accepted):
    """The terminal names the outcome before and now."""
    accepted.write(CLAIMS.replace("0.9", "0.3"))
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 21
    assert counts(found) == {"regressed": 3, "same": 1}
    found.result.stdout.fnmatch_lines(
        [
            "  regressed: corpora[[]news[]] on neox-a: PASS before, FAIL now: missed: size = 0.3, claimed > 0.5",
            "Exit status 21: 3 regressed.",
        ]
    )


def test_an_error_in_a_trial_is_a_regression_and_keeps_status_1(accepted):
    """The exit status of the comparison does not hide that of pytest."""
    accepted.write(CLAIMS.replace("0.1 if unineuron_case.control else 0.9", "1 / 0"))
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 1
    assert counts(found) == {"regressed": 3, "same": 1}


def test_a_renamed_trial_is_missing_and_new(accepted):
    """If only trials in both reports were compared, a failing trial could be renamed unnoticed."""
    accepted.write(CLAIMS.replace("test_weights", "test_widths"))
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 21
    assert counts(found) == {"missing": 1, "new": 1, "same": 3}
    assert accepted.run(*ARGS, BASELINE, "--unineuron-tolerate=missing").ret == 0


def test_an_edited_bound_is_incomparable(accepted):
    """A trial that failed and passes under another bound ends the run with status 23."""
    accepted.write(CLAIMS.replace("0.2, above=0.5", "0.2, above=0.15"))
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 23
    assert counts(found) == {"incomparable": 1, "same": 3}
    found.result.stdout.fnmatch_lines(["*weights on neox-a: size was claimed to be > 0.5, now > 0.15"])


@pytest.mark.parametrize(
    ("args", "states", "status"),
    [
        (("-k", "weights"), {"not run": 3, "same": 1}, 0),
        (("-m", "gt2"), {"not run": 1, "same": 3}, 0),
        (("test_trials.py::test_weights",), {"not run": 3, "same": 1}, 0),
        (("--unineuron-corpus=news",), {"not run": 2, "same": 2}, 0),
        (("-k", "weights", "--unineuron-tolerate=none"), {"not run": 3, "same": 1}, 21),
        (("-k", "nothing"), {"not run": 4}, 23),
        (("--unineuron-model=nano:gpt2-a",), {"not run": 4, "new": 4}, 23),
        (("--unineuron-policy=any",), {"incomparable": 4}, 23),
    ],
)
def test_what_did_not_run_is_not_a_regression(accepted, args, states, status):
    """A trial that was not selected is ``not run``, but a run that compares nothing fails."""
    given = [arg for arg in ARGS if not any(arg.partition("=")[0] == a.partition("=")[0] for a in args)]
    found = accepted.run(*given, BASELINE, *args)
    assert found.ret == status
    if states != {"not run": 4}:
        assert counts(found) == states
    else:
        found.result.stdout.fnmatch_lines(["Exit status 23: nothing was compared: *"])


@pytest.mark.slow
def test_workers_change_nothing_in_the_comparison(accepted):
    """The controller compares the results of all workers."""
    accepted.write(CLAIMS.replace("0.9", "0.3"))
    found = accepted.run(*ARGS, BASELINE, "-n2", subprocess=True)
    assert found.ret == 21
    assert counts(found) == {"regressed": 3, "same": 1}


def test_a_waiver_lets_a_regression_through_by_name(accepted):
    """A waiver names a trial, a reason and its last day. One that is malformed is a usage error."""
    accepted.write(CLAIMS.replace("0.9", "0.3"))
    waive = [f"--unineuron-waive=corpora[{c}] until 2999-01-01: issue 7" for c in ("news", "code", "multilingual")]
    found = accepted.run(*ARGS, BASELINE, *waive)
    assert found.ret == 0
    assert counts(found) == {"waived": 3, "same": 1}
    assert accepted.run(*ARGS, BASELINE, waive[0]).ret == 21
    assert accepted.run(*ARGS, BASELINE, waive[0].replace("2999", "2001")).ret == 21
    refused = accepted.run(*ARGS, BASELINE, "--unineuron-waive=corpora")
    assert refused.ret == 4
    refused.result.stderr.fnmatch_lines(["ERROR: --unineuron-waive=corpora: *"])


def test_the_ini_file_takes_one_waiver_a_line(accepted):
    """A reason may contain commas, since each line is one waiver."""
    accepted.write(CLAIMS.replace("0.9", "0.3"))
    lines = "".join(
        f"\n    corpora[{c}] on neox-a until 2999-01-01: one, two" for c in ("news", "code", "multilingual")
    )
    (accepted.path / "pytest.ini").write_text(f"[pytest]\nunineuron_waive ={lines}\n")
    assert accepted.run(*ARGS, BASELINE).ret == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "there is no such file; make one: pytest evals/"),
        (lambda path: path.write_text(path.read_text()[:500]), "is damaged or incomplete"),
        (lambda path: path.write_text(path.read_text().replace('"PASS"', '"FAIL"', 1)), "was changed or damaged"),
        (lambda path: path.write_text(""), "is damaged or incomplete"),
    ],
)
def test_a_baseline_that_cannot_be_used_ends_with_23(accepted, damage, message):
    """Nothing is measured before. The nearest file of a name that is none is named."""
    damage(accepted.path / "base.json")
    for path in (accepted.path / "evaluation").glob("*.json"):
        path.unlink()
    (accepted.path / "bass.json").write_text("{}")
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 23
    (line,) = [line for line in found.result.errlines if line.startswith("Exit: baseline ") and message in line]
    assert line.endswith("; did you mean " + str(accepted.path / "bass.json") + "?") == ("no such file" in message)
    assert not list((accepted.path / "evaluation").glob("*.json"))


def test_a_baseline_of_the_ini_file_that_cannot_be_used_ends_runs_with_trials_alone(accepted):
    """These say so at the end, since trials are not known before."""
    (accepted.path / "pytest.ini").write_text("[pytest]\nunineuron_baseline = gone.json\n")
    (accepted.path / "test_plain.py").write_text("def test_plain(): pass\n")
    assert accepted.run("test_plain.py").ret == 0
    found = accepted.run(*ARGS)
    assert found.ret == 23
    assert found.outcome("corpora[news]") == "PASS"


def test_a_baseline_in_the_ini_file_does_not_affect_ordinary_runs(accepted):
    """A run without trials compares nothing, unless the command line names a baseline."""
    (accepted.path / "pytest.ini").write_text("[pytest]\nunineuron_baseline = base.json\n")
    (accepted.path / "test_plain.py").write_text("def test_plain(): pass\n")
    found = accepted.run("test_plain.py")
    assert found.ret == 0
    found.result.stdout.no_fnmatch_line("Against the baseline*")
    assert accepted.run(*ARGS).ret == 0
    assert accepted.run("test_plain.py", BASELINE).ret == 23


def test_regression_needs_a_baseline(accepted):
    """Without one, --unineuron-fail-on=regression could never fail and is refused."""
    found = accepted.run(*ARGS, "--unineuron-fail-on=regression")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["*needs a baseline; add --unineuron-baseline=FILE"])


def test_a_model_whose_weights_changed_is_incomparable(accepted, tmp_path_factory):
    """Weights are compared by the content of their files. --unineuron-across=weights allows the comparison."""
    from pytest_unineuron import zoo

    folder = accepted.path / "mine"
    shutil.copytree(zoo.folders()["neox-a"], folder)
    args = ("--unineuron-model=mine", ARGS[1])
    accepted.run(*args, "--unineuron-fail-on=never")
    assert main(["accept", "--baseline", "mine.json"]) == 0
    (folder / "model.safetensors").write_bytes((zoo.folders()["neox-b"] / "model.safetensors").read_bytes())
    found = accepted.run(*args, "--unineuron-baseline=mine.json")
    assert found.ret == 23
    assert counts(found) == {"incomparable": 4}
    assert accepted.run(*args, "--unineuron-baseline=mine.json", "--unineuron-across=weights").ret == 0


def test_a_run_cannot_be_its_own_baseline(accepted):
    """A baseline in a file that the run is going to write is refused."""
    found = accepted.run(*ARGS, "--unineuron-baseline=evaluation/generalization_eval_report.json")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: *is what this run is going to write; accept it under another name: *"])


def test_the_baseline_is_read_when_the_run_begins(accepted):
    """A file that changes during the run does not matter."""
    accepted.write(CLAIMS.replace("0.9", "0.3") + "    open('base.json', 'w').close()\n")
    found = accepted.run(*ARGS, BASELINE)
    assert found.ret == 21
    assert counts(found) == {"regressed": 3, "same": 1}


def test_trials_below_a_linked_folder_are_compared(accepted):
    """A trial that was renamed in a folder behind a symbolic link is missing, as anywhere else."""
    (accepted.path / "real").mkdir()
    (accepted.path / "test_trials.py").rename(accepted.path / "real" / "test_trials.py")
    try:
        (accepted.path / "link").symlink_to("real")
    except OSError:
        pytest.skip("this system makes no links")
    (accepted.path / "pytest.ini").write_text("[pytest]\n")
    accepted.run(*ARGS, "--unineuron-fail-on=never", "link")
    assert main(["accept", "--baseline", "base.json"]) == 0
    path = accepted.path / "real" / "test_trials.py"
    path.write_text(path.read_text().replace("test_weights", "test_widths"))
    found = accepted.run(*ARGS, BASELINE, "link")
    assert found.ret == 21
    assert counts(found) == {"missing": 1, "new": 1, "same": 3}


PATHS = ("baseline", "lock", "write-lock", "findings", "corpus", "reference", "model")


@pytest.mark.parametrize("option", ["baseline", "lock", "write-lock"])
def test_an_empty_name_does_not_switch_a_gate_off(accepted, option):
    """An empty name is an error, since it usually comes from an unset variable of the shell."""
    found = accepted.run(*ARGS, f"--unineuron-{option}=")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: --unineuron-{option}: is empty; leave it out*"])


@pytest.mark.parametrize("option", [*PATHS, "out"])
def test_a_home_folder_that_does_not_exist_is_an_error(accepted, option):
    """A path of the form ~NAME/x is refused in one sentence if there is no user NAME."""
    found = accepted.run(*ARGS, f"--unineuron-{option}=~nobody-of-this-name/x")
    assert found.ret == 4
    assert "nobody-of-this-name" in found.result.stderr.str()


@pytest.mark.parametrize("option", PATHS)
def test_a_name_that_no_file_can_have_is_an_error(accepted, option):
    """It is refused in one sentence, whichever option it is given to."""
    found = accepted.run(*ARGS, f"--unineuron-{option}={'x' * 300}")
    assert found.ret == (23 if option == "baseline" else 4)
    assert "File name too long" in found.result.stderr.str()
