"""``pytest-unineuron``: the commands on saved files, which need no torch."""

import json
import os
import subprocess
import sys

import pytest

from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports import write
from tests.evidence.made import arm, evidence, share

KEY = ("heavy", "news", "m")
GOOD, BAD, BROKEN = arm(share(0.9)), arm(share(0.1)), arm(share(0.9), outcome=Outcome.ERROR)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder, name, run):
    """Write a run's files, and return the path of its report."""
    assert write.write_reports(run, folder / name) == []
    return str(folder / name / write.REPORT)


@pytest.fixture
def reports(folder):
    """The paths of reports of runs that pass, fail and broke."""
    return {
        name: put(folder, name, evidence({KEY: result}))
        for name, result in (("good", GOOD), ("bad", BAD), ("broken", BROKEN))
    }


def test_compare_shows_the_state_of_every_case(reports, capsys):
    """A regression is shown, and the status is 0 nevertheless."""
    assert main(["compare", reports["good"], reports["bad"]]) == 0
    out = capsys.readouterr().out
    assert "Against the baseline: 1 case: 1 regressed" in out
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
def test_gate_ends_with_the_status_of_a_run(reports, capsys, report, more, status):
    """The status is that of a run with the same report and options."""
    assert main(["gate", reports[report], "--baseline", reports["good"], *more]) == status
    captured = capsys.readouterr()
    assert f"Exit status {status}: " in captured.out or (status == 4 and captured.err)


def test_gate_without_a_baseline_judges_the_report(reports):
    """Without a baseline, --fail-on is "trial" as in a run, and "regression" is a wrong option."""
    assert main(["gate", reports["good"]]) == 0
    assert main(["gate", reports["bad"]]) == 1
    assert main(["gate", reports["good"], "--fail-on=regression"]) == 4


def test_gate_with_a_missing_baseline_ends_with_23(reports, capsys):
    """The error says what to type."""
    assert main(["gate", reports["good"], "--baseline", "none.json"]) == 23
    assert "there is no such file; make one: pytest evals/" in capsys.readouterr().out


def test_report_shows_a_report_in_every_form(reports, capsys):
    """Terminal, Markdown and summary are printed, and --out writes the files of the run again."""
    assert main(["report", reports["bad"]]) == 0
    assert "  heavy: share > 0.5\n      m on news 0.1\n" in capsys.readouterr().out
    assert main(["report", reports["bad"], "--form=markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Do universal neurons generalize?")
    assert main(["report", reports["bad"], "--form=summary"]) == 0
    assert json.loads(capsys.readouterr().out)["Checklist"]["GT2_DataGeneralization"] == "FAIL"
    assert main(["report", reports["bad"], "--out=again"]) == 0
    for name in write.REPORT_FILES:
        assert (saved.Path("again") / name).read_text() == (saved.Path("bad") / name).read_text()


def test_schema_prints_the_schema(capsys):
    """The output is the JSON Schema that reports are checked with."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == saved.report_schema()


def test_validate_prints_one_line_for_each_file(reports, capsys):
    """One file that cannot be used makes the status 23."""
    assert main(["validate", reports["good"], reports["bad"]]) == 0
    assert capsys.readouterr().out.count(": valid; Overall: ") == 2
    saved.Path("cut.json").write_text(saved.Path(reports["good"]).read_text()[:300])
    assert main(["validate", reports["good"], "cut.json", "none.json"]) == 23
    captured = capsys.readouterr()
    assert captured.out.count(": valid; ") == 1
    assert len(captured.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (evidence({KEY: BROKEN}), "1 items broke"),
        (evidence({KEY: GOOD}, incomplete=("worker gw0 vanished",)), "results were lost (worker gw0 vanished)"),
        (evidence({KEY: GOOD}, violations=("x moved",)), "it was locked, and something changed since (x moved)"),
        (evidence({KEY: arm(outcome=Outcome.NOT_RUN, reason="never reached")}), "1 items were never reached"),
        (evidence({KEY: GOOD, ("dense", "", "m"): None}), "2 items were deselected"),
        (evidence({KEY: GOOD}, settings={"corpus": ["stdlib"]}), "stdlib depends on the version of Python"),
        (evidence({}), "there is no trial in it"),
    ],
)
def test_accept_refuses_an_incomplete_report(folder, capsys, run, message):
    """The error gives the reason, and an existing baseline stays as it is."""
    old = saved.Path("base.json")
    old.write_text("mine")
    assert main(["accept", put(folder, "run", run), "--baseline", "base.json"]) == 23
    assert message in capsys.readouterr().err
    assert old.read_text() == "mine"


def test_accept_partial_names_the_cases_that_are_lost(folder, capsys):
    """With --partial a run with deselected trials is accepted, and cases that leave the baseline are printed."""
    whole = put(folder, "whole", evidence({KEY: GOOD, ("dense", "", "m"): GOOD}))
    part = put(folder, "part", evidence({KEY: GOOD, ("dense", "", "m"): None, ("new", "", "m"): None}))
    assert main(["accept", whole, "--baseline", "base.json"]) == 0
    assert main(["accept", part, "--baseline", "base.json", "--partial"]) == 0
    shown = capsys.readouterr().out
    assert "no longer in the baseline: not run: dense on m" in shown
    assert "new on m" not in shown
    assert main(["accept", part, "--baseline", "base.json", "--partial"]) == 0
    assert "no longer in the baseline" not in capsys.readouterr().out
    assert saved.read_report(saved.Path("base.json")).trials[0].name == "heavy[news]"


def test_accept_refuses_a_path_that_cannot_be_written(reports, capsys):
    """The error is one sentence, with status 4."""
    assert main(["accept", reports["good"], "--baseline", f"{reports['good']}/base.json"]) == 4
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ("def test_one(): ...", "is damaged or incomplete"),
        ('{"lock_version": 3}', "has no schema_version, so it is no baseline"),
        ('{"schema_version": 6}', "has no digest"),
        ('{"schema_version": 6, "digest": "0"}', "was changed or damaged"),
    ],
)
def test_accept_replaces_no_other_file(reports, capsys, old, reason):
    """The file stays as it is, and the error says what to type."""
    other = saved.Path("test_one.py")
    other.write_text(old)
    assert main(["accept", reports["good"], "--baseline", "test_one.py"]) == 4
    said = capsys.readouterr().err
    assert f"baseline test_one.py: {reason}" in said
    assert "; accept does not replace it: name another file, or delete this one" in said
    assert other.read_text() == old


def test_accept_replaces_a_baseline_of_an_old_schema(reports, capsys):
    """There is no other way to go on with its name."""
    old = strict_json.add_digest({"schema_version": 1})
    saved.Path("base.json").write_text(strict_json.to_json(old))
    assert main(["accept", reports["good"], "--baseline", "base.json"]) == 0
    assert "replacing what could not be read: baseline base.json: is of schema 1" in capsys.readouterr().out
    assert saved.read_report(saved.Path("base.json")).trials


def test_commands_on_files_import_nothing_heavy(reports):
    """No command on saved files imports torch, numpy, pytest or anything else that takes long."""
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
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_no_error(reports):
    """``pytest-unineuron schema | head -1`` prints nothing on standard error."""
    command = [sys.executable, "-m", "pytest_unineuron.cli.main", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_command_is_installed_and_lists_its_commands():
    """The help of the installed script lists every command."""
    script = os.path.join(os.path.dirname(sys.executable), "pytest-unineuron")  # noqa: PTH118, PTH120 - as a shell would
    if not os.path.exists(script):  # noqa: PTH110
        pytest.skip("the package is not installed here")
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    for command in ("compare", "gate", "accept", "lock", "report", "schema", "validate"):
        assert f"\n    {command} " in shown


def test_lock_runs_the_controls_and_writes_a_lock(folder):
    """The command ends with the status of its pytest run, which refuses to write a lock twice."""
    (folder / "test_x.py").write_text(
        "import pytest\nfrom pytest_unineuron import measure\n"
        "@pytest.mark.gt3(source='x')\ndef test_claim(unineuron_case):\n    measure('size', 0.1, above=0.5)\n"
    )
    assert main(["lock", "claim.lock", "-q", "--unineuron-model=nano:neox-a"]) == 0
    assert list(json.loads(saved.Path("claim.lock").read_text())["cases"]) == ["claim on neox-a"]
    assert main(["lock", "claim.lock", "-q"]) == 4


def test_gate_judges_controls_and_expected_failures(folder):
    """A broken control makes the status 1, and a failure that is expected does not."""
    run = evidence({KEY: GOOD}, control=BROKEN)
    assert main(["gate", put(folder, "control", run), "--fail-on=never"]) == 1
    expected = arm(share(0.1))
    object.__setattr__(expected, "notes", ("expected to fail",))
    assert main(["gate", put(folder, "xfail", evidence({KEY: expected})), "--fail-on=trial"]) == 0


def test_gate_keeps_its_status_if_the_pipe_is_closed(folder):
    """``pytest-unineuron gate … | head -1`` ends with the status of the gate under pipefail."""
    keys = [(f"t{i}", "news", "m") for i in range(300)]
    before = put(folder, "before", evidence(dict.fromkeys(keys, GOOD)))
    after = put(folder, "after", evidence(dict.fromkeys(keys, BAD)))
    command = [sys.executable, "-m", "pytest_unineuron.cli.main", "gate", after, "--baseline", before]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 21


def test_gate_keeps_the_lock_violations_of_the_report(folder, capsys):
    """A report with lock violations ends with 24 without naming the lock again."""
    assert main(["gate", put(folder, "moved", evidence({KEY: GOOD}, violations=("x moved",)))]) == 24
    assert "LOCK: x moved" in capsys.readouterr().out


def test_options_are_named_as_the_command_has_them(reports, capsys):
    """Not as those of a run."""
    assert main(["compare", reports["good"], reports["bad"], "--waive=heavy"]) == 4
    assert main(["gate", reports["good"], "--fail-on=regression"]) == 4
    said = capsys.readouterr().err
    assert "--waive=heavy" in said
    assert "add --baseline=FILE" in said
    assert "--unineuron" not in said


def test_a_page_replaces_pages_alone(reports, capsys):
    """A report is easily named as the page, as by ``--html *.json``."""
    before = saved.Path(reports["good"]).read_bytes()
    assert main(["report", reports["good"], "--html", reports["good"]]) == 4
    assert main(["compare", reports["good"], reports["bad"], "--html", reports["good"]]) == 4
    assert capsys.readouterr().err.count("is there and is no page; name another file") == 2
    assert saved.Path(reports["good"]).read_bytes() == before
    assert [main(["report", reports["good"], "--html=h.html"]) for _ in range(2)] == [0, 0]


def test_accept_prints_a_command_that_can_be_pasted(reports, capsys, tmp_path):
    assert main(["accept", reports["good"], "--baseline", str(tmp_path / "a b.json")]) == 0
    assert f"--unineuron-baseline='{tmp_path / 'a b.json'}'" in capsys.readouterr().out
    assert main(["accept", reports["good"], "--baseline", str(tmp_path)]) == 4
    assert "is no file; name a file" in capsys.readouterr().err


def test_one_form_of_a_report_at_a_time(reports, capsys):
    """A wrong command line ends with the status of pytest for one."""
    with pytest.raises(SystemExit) as ended:
        main(["report", reports["good"], "--out=o", "--html=h.html"])
    assert ended.value.code == 4
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_characters_that_the_terminal_cannot_show_are_escaped(reports, encoding):
    """Reports are printed in encodings that lack some of their characters."""
    for command in (["report", reports["bad"]], ["report", reports["bad"], "--form=markdown"]):
        code = "import sys; from pytest_unineuron.cli.main import main; sys.exit(main(sys.argv[1:]))"
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True, env=environment)


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/base.json"])
def test_impossible_file_names_give_one_sentence(reports, capsys, name):
    """A name that is too long, or in the home of an unknown user, raises nothing."""
    assert main(["accept", reports["good"], "--baseline", name]) in (0, 4)
    assert main(["gate", reports["good"], "--baseline", name]) in (4, 23)
    assert "Traceback" not in capsys.readouterr().err
