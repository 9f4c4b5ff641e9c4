"""Output for GitHub: annotations that the runner reads as intended, and a summary within its limit."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.baseline.gate import Gate
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.reports.github import (
    MAX_SUMMARY_BYTES,
    Annotation,
    job_summary,
    make_annotations,
    truncate_to_bytes,
)
from pytest_unineuron.reports.step import GitHubStep
from pytest_unineuron.reports.terminal import escape_commands
from tests.evidence.made import FILE, arm, evidence, share

TRICKY = st.text(st.one_of(st.sampled_from("::##[[]%,\r\n \t\u200b\x1b\u2028=eror"), st.characters()), max_size=40)


def commands(text):
    """The workflow commands that a runner finds in its log, of the new form and of the old one.

    After actions/runner, ActionCommand.cs: the new form begins a line, the old one may stand anywhere in it.
    """
    found = []
    for line in re.split("\r\n|\r|\n", text):
        seen = "".join(c for c in line if c.isprintable() or c == " ")
        if match := re.match(r"\s*::(\w+) ?(.*?)::(.*)", seen):
            fields = dict(part.split("=", 1) for part in match[2].split(",") if "=" in part)
            found.append((match[1], {k: plain(v) for k, v in fields.items()}, plain(match[3])))
        elif match := re.search(r"##\[(\w[^]]*)\]", seen):
            found.append((match[1], {}, ""))
    return found


def plain(text):
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@given(TRICKY, TRICKY, TRICKY)
def test_an_annotation_is_one_command_whatever_its_texts_contain(title, message, file):
    """The runner reads one command with the level, the place and the texts of the annotation."""
    shown = str(Annotation("error", "t" + title, "m" + message, "f" + file, 3))
    assert not {"\r", "\n"} & set(shown)
    ((level, fields, text),) = commands(shown)
    visible = [re.sub(r"[^ -~]", "", each) for each in (fields["title"], fields["file"], text)]
    assert (level, fields["line"]) == ("error", "3")
    assert visible == [re.sub(r"[^ -~]", "", each) for each in ("t" + title, "f" + file, "m" + message)]


@given(st.sampled_from(["", " ", "\t\u200b", "a", "é"]), st.sampled_from(["::", ":\u200b:", "##[", "#\xad#["]), TRICKY)
def test_an_escaped_line_contains_no_command(before, start, after):
    """The runner finds no command in an escaped line, which stays one line."""
    line = escape_commands(f"{before}{start}error]{after}::{after}")
    assert commands(line) == []
    assert len(line.splitlines()) == 1


@given(st.text("abc é✓]=.:,#-", max_size=30))
def test_a_line_without_a_command_is_not_changed(line):
    """Colons and brackets that are no command stay as they are."""
    assert escape_commands("trial " + line) == "trial " + line


WORSE, MISSING, BROKEN, MISSED, VACUOUS = "worse", "missing", "broken", "missed", "vacuous"


def run(cases=None, *, fail_on="regression", before=None, **rest):
    """Evidence of a run with a case of every kind, and its gate."""
    cases = cases or {
        (VACUOUS, "news", "m"): arm(share(0.9)),
        (MISSED, "news", "m"): arm(share(0.2)),
        (BROKEN, "news", "m"): arm(outcome=Outcome.ERROR, reason="boom\n::error::x"),
        (WORSE, "news", "m"): arm(share(0.2)),
    }
    now = evidence(cases, control=rest.pop("control", 0.0), **rest)
    comparison = compare(before, now) if before else None
    return now, Gate(fail_on, comparison, tolerated=("not run",))


def baseline():
    return evidence({(name, "news", "m"): arm(share(0.9)) for name in (WORSE, MISSING)})


def titles(now, gate, **more):
    return [(each.level, each.title) for each in make_annotations(now, gate, **more)]


def test_annotations_come_in_order_of_importance():
    """Lost results come first, then lock violations, regressions, missing cases, errors and missed bounds."""
    now, gate = run(before=baseline(), incomplete=("worker gw1 vanished",), violations=("a bound moved",))
    assert titles(now, gate) == [
        ("error", "results were lost"),
        ("error", "lock violated"),
        ("error", "regressed: worse[news] on m"),
        ("error", "missing: missing[news] on m"),
        ("error", "ERROR: broken[news] on m"),
        ("warning", "FAIL: missed[news] on m"),
    ]


def test_a_vacuous_case_is_a_notice():
    """A vacuous case does not fail the run, so its annotation is a notice."""
    now, gate = run({(VACUOUS, "news", "m"): arm(share(0.9))}, control=0.8)
    assert titles(now, gate) == [("notice", "VACUOUS: vacuous[news] on m")]


@pytest.mark.parametrize(("fail_on", "level"), [("trial", "error"), ("criterion", "warning"), ("never", "warning")])
def test_a_missed_bound_is_an_error_only_if_it_fails_the_run(fail_on, level):
    """A missed bound is a warning under --unineuron-fail-on=criterion and never."""
    now, gate = run({(MISSED, "news", "m"): arm(share(0.2))}, fail_on=fail_on)
    assert titles(now, gate) == [(level, "FAIL: missed[news] on m")]


def test_an_unusable_baseline_is_an_error():
    """The annotation gives the reason why the baseline cannot be used."""
    now, _ = run({(MISSED, "news", "m"): arm(share(0.9))})
    (found,) = make_annotations(now, Gate("regression", unusable="baseline b.json: there is no such file"))
    assert (found.level, found.message) == ("error", "baseline b.json: there is no such file")


def test_there_are_at_most_ten_annotations_and_the_tenth_counts_the_rest():
    """The message of the tenth annotation lists the titles of the rest."""
    now, gate = run({(f"t{n}", "news", "m"): arm(share(0.2)) for n in range(12)}, fail_on="trial")
    found = make_annotations(now, gate)
    assert [each.title for each in found[:9]] == [f"FAIL: t{n}[news] on m" for n in range(9)]
    assert [each.title for each in found[9:]] == ["3 more"]
    assert "FAIL: t11[news] on m" in found[9].message
    now, gate = run({(f"t{n}", "news", "m"): arm(share(0.2)) for n in range(10)}, fail_on="trial")
    assert make_annotations(now, gate)[9].title == "FAIL: t9[news] on m"


def test_a_crash_has_one_annotation():
    """An item that was lost with its worker is annotated as a lost result, and not as an error too."""
    nodeid = f"{FILE}::test_broken[m-news]"
    now, gate = run(
        {(BROKEN, "news", "m"): arm(outcome=Outcome.ERROR, reason="its worker process died")},
        incomplete=(f"{nodeid}: its worker process died",),
    )
    (found,) = make_annotations(now, gate)
    assert (found.title, found.file, found.line) == ("results were lost", FILE, 7)


def test_the_annotation_of_a_failed_case_ends_with_its_command():
    """The last line of the message is the command that runs the case again."""
    now, gate = run({(MISSED, "news", "m"): arm(share(0.2))})
    (found,) = make_annotations(now, gate)
    assert found.message.splitlines()[-1].startswith(f"pytest {FILE}::test_missed --unineuron-model=m ")


@pytest.mark.parametrize(("folder", "file"), [("", FILE), (".", FILE), ("sub", f"sub/{FILE}"), (None, ""), ("..", "")])
def test_the_file_is_relative_to_the_repository(folder, file):
    """The file is left out if pytest's root folder is outside of the repository."""
    now, gate = run({(MISSED, "news", "m"): arm(share(0.2))})
    (found,) = make_annotations(now, gate, folder=folder)
    assert (found.file, found.line) == (file, 7 if file else 0)


def test_a_summary_is_in_order_of_importance():
    """The verdicts come first, then the gate, the failed cases with their commands, and the tables."""
    now, gate = run(before=baseline(), incomplete=("worker gw1 vanished",))
    text = job_summary(now, gate)
    wanted = [
        "## Checklist",
        "## Gate",
        "worker gw1 vanished",
        "regressed: worse",
        "●",
        "## Reproduce",
        "## GT2",
        "Policy",
    ]
    places = [text.index(each) for each in wanted]
    assert places == sorted(places)
    assert "results were lost (status 22); 1 regressed (status 21); 1 missing (status 21)" in text


def test_names_cannot_break_a_summary():
    """Names of trials and models are escaped, and commands stay within their block of code."""
    now, gate = run({("`` ```\n# x <script>", "news", "| m |"): arm(share(0.2))}, before=baseline())
    text = job_summary(now, gate)
    assert "<script>" not in re.sub("(?s)````+(sh)?\n.*?````+", "", text)
    assert "\n# x" not in text


BIG = {(f"trial_{n}_é", "news", "m"): arm(share(0.2)) for n in range(100)}


@pytest.mark.parametrize("room", [MAX_SUMMARY_BYTES, 20_000, 9_000, 3_000, 900])
def test_a_summary_fits_and_is_cut_at_the_end_of_a_line(room):
    """A cut summary is within its limit in bytes, has a remark, and leaves no block of code open."""
    now, gate = run(BIG, fail_on="trial")
    whole, text = job_summary(now, gate), job_summary(now, gate, room)
    assert len(text.encode()) <= room
    assert text.count("```") % 2 == 0
    if room == MAX_SUMMARY_BYTES:
        assert text == whole
    else:
        shown, _, remark = text.rstrip("\n").rpartition("\n")
        assert remark == r"This summary was cut to fit; evaluation/generalization\_eval\_report.md is whole."
        assert whole.startswith(shown)
        assert "| ✗ | GT2 new data | **FAIL** |" in shown


def test_a_text_that_fits_exactly_is_not_cut():
    """A text of the maximal size is whole, and one byte more is cut."""
    assert truncate_to_bytes("é\nb\n", 5, "cut") == "é\nb\n"
    assert truncate_to_bytes("é\n" + "b" * 9 + "\n", 12, "cut") == "é\n\ncut\n"
    assert truncate_to_bytes("long line\n", 5, "cut") == ""


def step(path):
    return GitHubStep.of({"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path)})


def test_a_summary_is_appended_to_an_existing_one(tmp_path):
    """A summary begins on a new line and gets the bytes that are left."""
    path, rooms = tmp_path / "summary.md", []
    path.write_bytes(b"x" * 1000)
    assert step(path).append_summary(lambda room: rooms.append(room) or "# é\n") == ""
    assert path.read_bytes() == b"x" * 1000 + "\n# é\n".encode()
    assert rooms == [MAX_SUMMARY_BYTES - 1001]
    assert step(path).append_summary(lambda room: "b\n") == ""
    assert path.read_bytes().endswith("# é\nb\n".encode())


def test_a_new_summary_begins_without_an_empty_line(tmp_path):
    """A lone surrogate in a summary is written as an escape."""
    assert step(tmp_path / "new.md").append_summary(lambda room: "\ud800\n") == ""
    assert (tmp_path / "new.md").read_bytes() == b"\\ud800\n"


def test_a_summary_that_cannot_be_written_gives_one_sentence(tmp_path):
    """An error while writing and a full summary are reported and raise nothing."""
    assert step(tmp_path).append_summary(lambda room: "a").startswith("the job summary could not be written (")
    full = step(tmp_path / "full.md")
    assert full.append_summary(lambda room: "") == "the job summary is full: nothing was added to it"


@pytest.mark.parametrize("environment", [{}, {"GITHUB_ACTIONS": "false", "GITHUB_STEP_SUMMARY": "x"}, {"CI": "true"}])
def test_there_is_no_step_outside_of_github(environment):
    """A step exists only if GITHUB_ACTIONS is true."""
    assert GitHubStep.of(environment) is None


def test_the_folder_of_a_step_is_relative_to_the_repository(tmp_path):
    """The folder is None outside of the repository and without a workspace."""
    (tmp_path / "sub").mkdir()
    found = GitHubStep.of({"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)})
    assert [found.folder(path) for path in (tmp_path, tmp_path / "sub", tmp_path.parent)] == [".", "sub", None]
    assert GitHubStep.of({"GITHUB_ACTIONS": "true"}).folder(tmp_path) is None


def test_a_summary_can_be_made_with_default_settings():
    """The remark of a cut summary names the default folder of reports."""
    assert Settings().out in job_summary(*run(BIG, fail_on="trial"), 3000)
