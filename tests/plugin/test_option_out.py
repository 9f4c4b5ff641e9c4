"""``--unineuron-out``: the folder of the reports."""

import json

CLAIM = "@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('size', 0.9, above=0.5)\n"
MODEL = "--unineuron-model=nano:neox-a"
FILES = {
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


def test_collect_only_writes_nothing(trials):
    """--collect-only lists names and makes no folder."""
    found = trials.write(CLAIM).run(MODEL, "--co", "-q")
    found.result.stdout.fnmatch_lines(["test_trials.py::test_claim[[]neox-a~untrained[]]"])
    assert found.ret == 0
    assert not (trials.path / "evaluation").exists()


def test_names_and_messages_cannot_break_the_markdown(trials):
    """Markup in the source or the message of a trial is escaped."""
    body = "@pytest.mark.gt1(source='<b>|`x`')\ndef test_claim():\n    raise RuntimeError('| a | <script>\\n# b')\n"
    trials.write(body).run(MODEL)
    text = (trials.path / "evaluation" / "generalization_eval_report.md").read_text()
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| claim")]
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)
