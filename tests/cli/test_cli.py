"""``pytest-unineuron``: what can be done with saved files, fast and without torch."""

import json
import os
import subprocess
import sys
import time

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence import saved
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports import write
from tests.evidence.made import arm, evidence, share

KEY = ("heavy", "news", "m")
GOOD, BAD, BROKEN = arm(share(0.9)), arm(share(0.1)), arm(share(0.9), outcome=Outcome.ERROR)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder, name, run):
    """Write a run's files, and return its report."""
    assert write.write_reports(run, folder / name) == []
    return str(folder / name / write.REPORT)


@pytest.fixture
def reports(folder):
    """Reports of runs that pass, fail and broke."""
    return {
        name: put(folder, name, evidence({KEY: result}))
        for name, result in (("good", GOOD), ("bad", BAD), ("broken", BROKEN))
    }


def test_compare_shows_what_became_of_every_trial(reports, capsys):
    """It shows; it does not judge."""
    assert main(["compare", reports["good"], reports["bad"]]) == 0
    out = capsys.readouterr().out
    assert "Against the baseline: 1 trials × cases: 1 regressed" in out
    assert "regressed: heavy[news] on m: PASS before, FAIL now" in out


@pytest.mark.parametrize(
    ("report", "more", "status"),
    [
        ("good", [], 0),
        ("bad", [], 21),
        ("broken", [], 1),
        ("bad", ["--fail-on=never"], 0),
        ("bad", ["--fail-on=criterion"], 20),
        ("bad", ["--fail-on=trial"], 1),
        ("bad", ["--waive=heavy[news] until 2999-01-01: issue 3"], 0),
        ("bad", ["--waive=heavy[news]"], 4),
        ("bad", ["--tolerate=everything"], 4),
    ],
)
def test_gate_ends_as_a_run_would(reports, capsys, report, more, status):
    """The same code, so the same status."""
    assert main(["gate", reports[report], "--baseline", reports["good"], *more]) == status
    captured = capsys.readouterr()
    assert f"Exit status {status}: " in captured.out or (status == 4 and captured.err)


def test_gate_without_a_baseline_judges_the_report(reports):
    """fail-on trial, as in a run."""
    assert main(["gate", reports["good"]]) == 0
    assert main(["gate", reports["bad"]]) == 1
    assert main(["gate", reports["good"], "--fail-on=regression"]) == 4


def test_gate_with_a_baseline_that_is_not_there(reports, capsys):
    """23, and what to type."""
    assert main(["gate", reports["good"], "--baseline", "none.json"]) == 23
    assert "there is no such file; make one: pytest evals/" in capsys.readouterr().out


def test_report_shows_what_the_run_showed(reports, capsys):
    """Terminal, Markdown, summary; and all files again."""
    assert main(["report", reports["bad"]]) == 0
    assert "heavy[news]  m      share     0.1    > 0.5    0 (untrained)  FAIL" in capsys.readouterr().out
    assert main(["report", reports["bad"], "--form=markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Do universal neurons generalize?")
    assert main(["report", reports["bad"], "--form=summary"]) == 0
    assert json.loads(capsys.readouterr().out)["Checklist"]["GT2_DataGeneralization"] == "FAIL"
    assert main(["report", reports["bad"], "--out=again"]) == 0
    for name in write.REPORT_FILES:
        assert (saved.Path("again") / name).read_text() == (saved.Path("bad") / name).read_text()


def test_schema_is_the_schema_that_ships(capsys):
    """Printed as JSON."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == saved.report_schema()


def test_validate_says_of_each_file_what_it_is(reports, capsys):
    """Whole or not, one line each; one bad file is enough for 23."""
    assert main(["validate", reports["good"], reports["bad"]]) == 0
    assert capsys.readouterr().out.count(": whole; Overall: ") == 2
    saved.Path("cut.json").write_text(saved.Path(reports["good"]).read_text()[:300])
    assert main(["validate", reports["good"], "cut.json", "none.json"]) == 23
    captured = capsys.readouterr()
    assert captured.out.count("whole") == 1
    assert len(captured.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (evidence({KEY: BROKEN}), "1 items broke"),
        (evidence({KEY: GOOD}, incomplete=("worker gw0 vanished",)), "results were lost (worker gw0 vanished)"),
        (evidence({KEY: GOOD}, violations=("x moved",)), "it was locked, and something changed since (x moved)"),
        (evidence({KEY: arm(share(0.9), resumed=True)}), "1 results are those of an earlier attempt"),
        (evidence({KEY: arm(outcome=Outcome.NOT_RUN, reason="never reached")}), "1 items were never reached"),
        (evidence({KEY: GOOD, ("dense", "", "m"): None}), "2 items were deselected"),
        (evidence({KEY: GOOD}, settings={"corpus": ["stdlib"]}), "stdlib depends on the version of Python"),
        (evidence({}), "there is no trial in it"),
    ],
)
def test_accept_refuses_what_is_not_whole(folder, capsys, run, said):
    """With every reason; a baseline that is there stays as it is."""
    old = saved.Path("base.json")
    old.write_text("mine")
    assert main(["accept", put(folder, "run", run), "--baseline", "base.json"]) == 23
    assert said in capsys.readouterr().err
    assert old.read_text() == "mine"


def test_accept_takes_a_part_when_told_to_and_says_what_is_gone(folder, capsys):
    """Nothing leaves a baseline in silence."""
    whole = put(folder, "whole", evidence({KEY: GOOD, ("dense", "", "m"): GOOD}))
    part = put(folder, "part", evidence({KEY: GOOD, ("dense", "", "m"): None}))
    assert main(["accept", whole, "--baseline", "base.json"]) == 0
    assert main(["accept", part, "--baseline", "base.json", "--partial"]) == 0
    assert "no longer in the baseline: not run: dense on m" in capsys.readouterr().out
    assert saved.read_report(saved.Path("base.json")).trials[0].name == "heavy[news]"


def test_accept_says_where_it_cannot_write(reports, capsys):
    """In one sentence."""
    assert main(["accept", reports["good"], "--baseline", f"{reports['good']}/base.json"]) == 4
    assert "cannot be written" in capsys.readouterr().err


def test_offline_commands_need_no_torch_and_no_time(reports):
    """Under a second, process and all: the least of three, since machines are noisy."""
    for command in (
        ["compare", reports["good"], reports["bad"]],
        ["gate", reports["good"]],
        ["schema"],
        ["report", reports["bad"]],
        ["validate", reports["good"]],
    ):
        code = (
            "import sys; from pytest_unineuron.cli.main import main; main(sys.argv[1:]); "
            "print([m for m in ('torch', 'numpy', 'transformers', 'scipy', 'pandas', 'pytest') if m in sys.modules])"
        )
        times = []
        for _ in range(3):
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
            times.append(time.perf_counter() - start)
            assert done.stdout.splitlines()[-1] == "[]"
        assert min(times) < 1


def test_a_reader_that_has_read_enough_is_no_error(reports):
    """``pytest-unineuron schema | head -1``."""
    command = [sys.executable, "-m", "pytest_unineuron.cli.main", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_command_is_installed():
    """Under its name, with every command in its help."""
    script = os.path.join(os.path.dirname(sys.executable), "pytest-unineuron")  # noqa: PTH118, PTH120 - as a shell would
    if not os.path.exists(script):  # noqa: PTH110
        pytest.skip("the package is not installed here")
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    for command in ("compare", "gate", "accept", "lock", "report", "schema", "validate"):
        assert f"\n    {command} " in said


def test_lock_runs_the_controls_and_writes_the_lock(folder):
    """It is a run of pytest, and ends with its status."""
    (folder / "test_x.py").write_text(
        "import pytest\nfrom pytest_unineuron import measure\n"
        "@pytest.mark.gt3(source='x')\ndef test_claim(unineuron_case):\n    measure('size', 0.1, above=0.5)\n"
    )
    assert main(["lock", "claim.lock", "-q", "--unineuron-model=nano:neox-a"]) == 0
    assert list(json.loads(saved.Path("claim.lock").read_text())["cases"]) == ["claim on neox-a"]
    assert main(["lock", "claim.lock", "-q"]) == 4


def test_gate_sees_every_arm(folder):
    """A control that broke, and a case that broke beside one that failed."""
    run = evidence({KEY: GOOD}, control=BROKEN)
    assert main(["gate", put(folder, "control", run), "--fail-on=never"]) == 1
    expected = arm(share(0.1))
    object.__setattr__(expected, "notes", ("expected to fail",))
    assert main(["gate", put(folder, "xfail", evidence({KEY: expected})), "--fail-on=trial"]) == 0


def test_gate_keeps_its_status_when_nobody_reads(folder):
    """``pytest-unineuron gate … | head -1`` under pipefail."""
    keys = [(f"t{i}", "news", "m") for i in range(300)]
    before = put(folder, "before", evidence(dict.fromkeys(keys, GOOD)))
    after = put(folder, "after", evidence(dict.fromkeys(keys, BAD)))
    command = [sys.executable, "-m", "pytest_unineuron.cli.main", "gate", after, "--baseline", before]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 21


def test_gate_keeps_what_the_report_says_of_a_lock(folder, capsys):
    """Another lock does not undo it."""
    assert main(["gate", put(folder, "moved", evidence({KEY: GOOD}, violations=("x moved",)))]) == 24
    assert "LOCK: x moved" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_terminal_shows_what_it_can(reports, encoding):
    """What it cannot is spelled out."""
    for command in (["report", reports["bad"]], ["report", reports["bad"], "--form=markdown"]):
        code = "import sys; from pytest_unineuron.cli.main import main; sys.exit(main(sys.argv[1:]))"
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True, env=environment)


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/base.json"])
def test_names_that_cannot_be_are_one_sentence(reports, capsys, name):
    """Too long, or in the home of nobody."""
    assert main(["accept", reports["good"], "--baseline", name]) in (0, 4)
    assert main(["gate", reports["good"], "--baseline", name]) in (4, 23)
    assert "Traceback" not in capsys.readouterr().err
