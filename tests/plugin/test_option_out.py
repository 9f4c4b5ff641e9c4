"""--unineuron-out: where the reports go, and nothing goes elsewhere."""

import json

CLAIM = "@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('size', 0.9, above=0.5)\n"
MODEL = "--unineuron-model=nano:neox-a"
FILES = {
    "generalization_eval_report.json",
    "generalization_eval_report.md",
    "generalization_eval_summary.json",
    "journal",
}


def test_reports_go_where_they_are_told(trials):
    """Folders are made; nothing else is written."""
    trials.write(CLAIM).run(MODEL, "--unineuron-out=deep/er")
    assert {path.name for path in (trials.path / "deep" / "er").iterdir()} == FILES
    assert not (trials.path / "evaluation").exists()


def test_the_summary_has_exactly_two_keys(trials):
    """The shape that others already read."""
    found = trials.write(CLAIM).run(MODEL)
    assert list(found.summary) == ["Checklist", "Rationale"]
    for part in found.summary.values():
        assert list(part) == ["GT1_ModelGeneralization", "GT2_DataGeneralization", "GT3_MethodGeneralization"]
    assert set(found.summary["Checklist"].values()) <= {"PASS", "FAIL", "NA"}


def test_a_path_below_a_file_is_refused_at_once(trials):
    """Before anything is measured, with exit status 4."""
    (trials.path / "file").write_text("")
    found = trials.write(CLAIM).run(MODEL, "--unineuron-out=file/evaluation")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(
        ["ERROR: --unineuron-out=file/evaluation: cannot be written to: */file is not a folder"]
    )


def test_a_path_that_cannot_be_written_is_refused_at_once(trials):
    """A file system that takes no files."""
    found = trials.write(CLAIM).run(MODEL, "--unineuron-out=/proc/evaluation")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: --unineuron-out=/proc/evaluation: cannot be written to: /proc: *"])


def test_a_file_that_fails_does_not_take_the_others_along(trials):
    """A folder stands where the Markdown should go: the JSON is written, the run is incomplete and says so."""
    (trials.path / "evaluation" / "generalization_eval_report.md").mkdir(parents=True)
    found = trials.write(CLAIM).run(MODEL)
    assert found.ret == 22
    assert found.outcome("claim") == "VACUOUS"
    found.result.stdout.fnmatch_lines(["generalization_eval_report.md was not written: *"])


def test_old_reports_are_replaced_and_leave_nothing_behind(trials):
    """Written under another name, then renamed."""
    trials.write(CLAIM).run(MODEL)
    trials.write(CLAIM.replace("0.9", "0.1")).run(MODEL)
    out = trials.path / "evaluation"
    assert {path.name for path in out.iterdir()} == FILES
    assert (
        json.loads((out / "generalization_eval_summary.json").read_text())["Checklist"]["GT1_ModelGeneralization"]
        == "FAIL"
    )


def test_collect_only_writes_nothing(trials):
    """--co is a question about names."""
    found = trials.write(CLAIM).run(MODEL, "--co", "-q")
    found.result.stdout.fnmatch_lines(["test_trials.py::test_claim[[]neox-a~untrained[]]"])
    assert found.ret == 0
    assert not (trials.path / "evaluation").exists()


def test_names_and_messages_cannot_break_the_markdown(trials):
    """What trials say is text, not markup."""
    body = "@pytest.mark.gt1(source='<b>|`x`')\ndef test_claim():\n    raise RuntimeError('| a | <script>\\n# b')\n"
    trials.write(body).run(MODEL)
    text = (trials.path / "evaluation" / "generalization_eval_report.md").read_text()
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| claim")]
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)
