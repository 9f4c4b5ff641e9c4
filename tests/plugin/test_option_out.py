"""``--unineuron-out``: the folder of the reports."""

import json

import pytest

CLAIM = "@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('size', 0.9, above=0.5)\n"
MODEL = "--unineuron-model=nano:neox-a"
FILES = {
    "generalization_eval_report.html",
    "generalization_eval.ipynb",
    "generalization_eval_report.json",
    "generalization_eval_report.md",
    "generalization_eval_summary.json",
    "journal",
}


def test_reports_are_written_to_the_folder(trials):
    """The folder is made with its parents, and no report is written elsewhere."""
    trials.write(CLAIM).run(MODEL, "--unineuron-out=deep/er")
    assert {path.name for path in (trials.path / "deep" / "er").iterdir()} == FILES
    assert not (trials.path / "evaluation").exists()


def test_the_summary_has_exactly_two_keys(trials):
    """Other programs read this format."""
    found = trials.write(CLAIM).run(MODEL)
    assert list(found.summary) == ["Checklist", "Rationale"]
    for part in found.summary.values():
        assert list(part) == ["GT1_ModelGeneralization", "GT2_DataGeneralization", "GT3_MethodGeneralization"]
    assert set(found.summary["Checklist"].values()) <= {"PASS", "FAIL", "NA"}


def test_a_path_below_a_file_is_refused(trials):
    """The run ends with exit status 4 before anything is measured."""
    (trials.path / "file").write_text("")
    found = trials.write(CLAIM).run(MODEL, "--unineuron-out=file/evaluation")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(
        ["ERROR: --unineuron-out=file/evaluation: cannot be written to: */file is not a folder"]
    )


def test_a_path_that_cannot_be_written_is_refused(trials):
    """The run ends with exit status 4 if the file system takes no files."""
    found = trials.write(CLAIM).run(MODEL, "--unineuron-out=/proc/evaluation")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: --unineuron-out=/proc/evaluation: cannot be written to: /proc: *"])


def test_a_name_that_no_folder_can_have_is_refused(trials):
    """No Python finds out only when it writes."""
    name = "x" * 300
    found = trials.write(CLAIM).run(MODEL, f"--unineuron-out={name}")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: --unineuron-out={name}: cannot be written to: File name too long"])


def test_other_reports_are_written_if_one_cannot_be(trials):
    """A folder is in the place of the Markdown: the JSON is written, and the run ends as incomplete."""
    (trials.path / "evaluation" / "generalization_eval_report.md").mkdir(parents=True)
    found = trials.write(CLAIM).run(MODEL)
    assert found.ret == 22
    assert found.outcome("claim") == "VACUOUS"
    found.result.stdout.fnmatch_lines(["generalization_eval_report.md was not written: *"])


def test_reports_of_an_earlier_run_are_replaced(trials):
    """Reports are written under a temporary name and renamed, and no temporary file remains."""
    trials.write(CLAIM).run(MODEL)
    trials.write(CLAIM.replace("0.9", "0.1")).run(MODEL)
    out = trials.path / "evaluation"
    assert {path.name for path in out.iterdir()} == FILES
    assert (
        json.loads((out / "generalization_eval_summary.json").read_text())["Checklist"]["GT1_ModelGeneralization"]
        == "FAIL"
    )


TWO = (
    CLAIM
    + """
@pytest.mark.gt2(source="x", primary=True, controls=["untrained"])
def test_other(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
)
REPORTS = FILES - {"journal"}


def reports(folder):
    """The report files in a folder, by name."""
    return {name: (folder / name).read_bytes() for name in REPORTS if (folder / name).exists()}


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (("-k", "other"), "items deselected: 4"),
        (("test_trials.py::test_other",), "items deselected: 4"),
        (("test_trials.py::test_claim[neox-a~shuffled]",), "items deselected: 5"),
        (("--deselect=test_trials.py::test_other[neox-a~untrained]",), "items deselected: 1"),
        (("-x",), "items never reached: 1"),
    ],
)
def test_a_run_of_a_part_keeps_the_last_whole_report(trials, part, why):
    """It says what it left out. Further parts keep the same report, and a whole run is in its place again."""
    out = trials.path / "evaluation"
    trials.write(TWO).run(MODEL)
    whole = reports(out)
    if part == ("-x",):
        trials.write(TWO.replace("else 0.9", "else 1 / 0"))
    for _ in range(2):
        found = trials.run(MODEL, *part)
        found.result.stdout.fnmatch_lines(
            [
                f"This run is a part of the suite: *{why}*",
                f"The last report of the whole suite before is in {out}/last-whole.",
            ]
        )
        assert reports(out / "last-whole") == whole
        assert reports(out) != whole
    assert "a part of the suite" not in trials.write(TWO).run(MODEL).result.stdout.str()
    assert set(reports(out)) == REPORTS


def test_another_file_of_the_suite_keeps_the_report_of_all(trials):
    """A file of the suite is a part of it, whichever of its files ran last."""
    out = trials.path / "evaluation"
    trials.write(CLAIM).write(TWO.replace("test_claim", "test_second"), "test_second.py").run(MODEL)
    whole = reports(out)
    for part in (["test_trials.py"], ["test_second.py"], ["test_trials.py"]):
        found = trials.run(MODEL, *part)
        assert reports(out / "last-whole") == whole
        told = f"An earlier report, which has trials that this run lacks, is in {out}/last-whole."
        assert told in found.result.outlines
    assert "An earlier report" not in trials.run(MODEL).shown


def test_a_worker_that_dies_does_not_replace_the_report(trials):
    """Its results are lost; those of the last whole run are kept."""
    out = trials.path / "evaluation"
    trials.write(TWO).run(MODEL)
    whole = reports(out)
    body = "\n@pytest.mark.gt3(source='x')\ndef test_dies():\n    import os\n    os.kill(os.getpid(), 9)\n"
    assert trials.write(TWO + body).run(MODEL, "-n1", "--max-worker-restart=0").ret != 0
    assert reports(out / "last-whole") == whole


def test_a_whole_report_that_cannot_be_kept_is_not_overwritten(trials):
    """A file is in the place of the folder: the run ends as incomplete."""
    out = trials.path / "evaluation"
    trials.write(TWO).run(MODEL)
    whole = reports(out)
    (out / "last-whole").touch()
    found = trials.run(MODEL, "-k", "other")
    assert found.ret == 22
    found.result.stdout.fnmatch_lines(["nothing was written, since the last whole report could not be moved*"])
    assert reports(out) == whole


@pytest.mark.parametrize(
    "broken",
    ["raise RuntimeError('broken')", "pytest.importorskip", "unknown_name", "import nothing_of_this_name"],
    ids=["raises", "no call", "name", "import"],
)
def test_a_run_that_measured_nothing_writes_nothing(trials, broken):
    """A start that fails in every item leaves the report of an earlier run as it is, and says so."""
    out = trials.path / "evaluation"
    fails = "@pytest.mark.gt1(source='x')\ndef test_claim():\n    " + broken + "\n"
    found = trials.write(fails).run(MODEL)
    assert (found.ret, found.report) == (1, None)
    found.result.stdout.fnmatch_lines(["Nothing was measured, so no report was written."])
    trials.write(TWO).run(MODEL)
    whole = reports(out)
    assert trials.write(fails).run(MODEL).ret == 1
    assert reports(out) == whole


def test_collect_only_writes_nothing(trials):
    """--collect-only lists names and makes no folder."""
    found = trials.write(CLAIM).run(MODEL, "--co", "-q")
    found.result.stdout.fnmatch_lines(["test_trials.py::test_claim[[]neox-a~untrained[]]"])
    assert found.ret == 0
    assert not (trials.path / "evaluation").exists()


def test_names_and_messages_cannot_break_the_markdown(trials):
    """Markup in the source or the message of a trial is escaped."""
    body = "def test_claim():\n    measure('x', 1)\n    raise RuntimeError('| a | <script>\\n# b')\n"
    body = "@pytest.mark.gt1(source='<b>|`x`')\n" + body
    trials.write(body).run(MODEL)
    text = (trials.path / "evaluation" / "generalization_eval_report.md").read_text()
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| claim")]
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)
