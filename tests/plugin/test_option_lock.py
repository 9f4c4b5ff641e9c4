"""``--unineuron-lock`` and ``--unineuron-write-lock``: bounds and settings that are fixed before a claim is tested."""

import json

import pytest

from pytest_unineuron.evidence.measurement import BOUND_FIELDS

ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-controls=untrained")
CLAIMS = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_corpora(unineuron_case, unineuron_corpus):
    open("ran.txt", "a").write(unineuron_case.id + "\\n")
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
LOCK = "--unineuron-lock=claim.lock"


@pytest.fixture
def locked(trials):
    """Trials whose lock has been written."""
    found = trials.write(CLAIMS).run(*ARGS, "--unineuron-write-lock=claim.lock")
    assert found.ret == 0
    return trials


def lock_violations(run):
    """The violations that the terminal and the report of a run list."""
    assert run.ret == 24
    assert all(verdict == "NA" for verdict in run.summary["Checklist"].values())
    found = [line.removeprefix("LOCK: ") for line in run.result.outlines if line.startswith("LOCK: ")]
    assert run.report["lock_violations"] == found
    return found


def test_writing_a_lock_runs_only_control_arms(locked):
    """So the lock cannot depend on the subject. A report of another run is not replaced."""
    assert all("~untrained" in line for line in (locked.path / "ran.txt").read_text().splitlines())
    assert not (locked.path / "evaluation").exists()
    lock = json.loads((locked.path / "claim.lock").read_text())
    assert lock["cases"]["corpora[news] on neox-a"]["bounds"] == {
        "size": [{**dict.fromkeys(BOUND_FIELDS), "above": 0.5, "needed": False}]
    }
    assert lock["settings"]["model"] == ["nano:neox-a"]


def test_a_run_under_its_lock_passes(locked):
    """The locked settings need not be typed again."""
    found = locked.run(LOCK)
    assert found.ret == 0
    assert [t["name"] for t in found.report["trials"]] == ["corpora[news]", "corpora[code]", "corpora[multilingual]"]
    assert list(found.trial("corpora[news]")["subjects"]) == ["neox-a"]
    assert found.report["lock_violations"] == []
    assert found.summary["Checklist"]["GT2_DataGeneralization"] == "PASS"


def test_the_locked_value_beats_command_line_environment_and_ini_file(locked, monkeypatch):
    """The terminal names each setting that was overridden."""
    monkeypatch.setenv("UNINEURON_TOKENS", "99")
    (locked.path / "pytest.ini").write_text("[pytest]\nunineuron_dtype = float16\n")
    found = locked.run(LOCK, "--unineuron-policy=any", "--unineuron-model=nano:gpt2-a")
    assert found.ret == 0
    settings = found.report["settings"]
    assert (settings["policy"], settings["tokens"], settings["dtype"]) == ("primary", 44000, "float32")
    assert settings["model"] == ["nano:neox-a"]
    for line in (
        "policy=any is overruled by the lock: primary",
        "model=nano:gpt2-a is overruled by the lock: nano:neox-a",
        "tokens=99 is overruled by the lock: 44000",
        "dtype=float16 is overruled by the lock: float32",
    ):
        assert f"--unineuron-{line}" in found.result.outlines


def test_an_edited_bound_is_named(locked):
    """The message states the locked bound and the new one, although the trial would pass with either."""
    locked.write(CLAIMS.replace("above=0.5", "above=0.3"))
    bound, source = lock_violations(locked.run(LOCK))
    assert bound == "corpora[news] on neox-a and 2 more: the bound of 'size' was locked at > 0.5 and is > 0.3"
    assert source.startswith("corpora[news] on neox-a and 2 more: the source (test_trials.py, ")


def test_a_helper_that_changed_is_noticed(trials):
    """A bound can be defined in another file than the trial."""
    (trials.path / "limits.py").write_text("LIMIT = 0.5\n")
    trials.write("from limits import LIMIT\n" + CLAIMS.replace("above=0.5", "above=LIMIT"))
    assert trials.run(*ARGS, "--unineuron-write-lock=claim.lock").ret == 0
    assert trials.run(LOCK).ret == 0
    (trials.path / "limits.py").write_text("LIMIT = 0.5  # a comment\n")
    (source,) = lock_violations(trials.run(LOCK))
    assert "changed since it was locked" in source


def test_a_renamed_removed_or_added_trial_is_named(locked):
    """Both the locked name and the new one are listed."""
    locked.write(CLAIMS.replace("test_corpora", "test_texts"))
    found = lock_violations(locked.run(LOCK))
    assert (
        "corpora[news] on neox-a and 2 more: locked, but missing from this run: renamed, removed, or not selected"
        in found
    )
    assert "texts[news] on neox-a and 2 more: in this run, but not in the lock" in found


def test_deselecting_a_locked_trial_violates_the_lock(locked):
    """Otherwise trials could be chosen by their results."""
    (found,) = lock_violations(locked.run(LOCK, "-k", "news"))
    assert found == "corpora[code] on neox-a and 1 more: locked, and did not come to its end (deselected)"


def test_other_weights_are_named(trials):
    """Models are compared by the content of their files."""
    import shutil

    from pytest_unineuron import zoo

    folder = trials.path / "mine"
    shutil.copytree(zoo.folders()["neox-a"], folder)
    trials.write(CLAIMS)
    assert trials.run("--unineuron-model=mine", ARGS[1], "--unineuron-write-lock=claim.lock").ret == 0
    assert trials.run(LOCK).ret == 0
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    (found,) = lock_violations(trials.run(LOCK))
    assert found == "corpora[news] on mine and 2 more: mine has other content than when it was locked (models)"


def test_a_lock_is_written_once(locked):
    """A lock that exists is not overwritten, since the new one could depend on results under the old one."""
    found = locked.run(*ARGS, "--unineuron-write-lock=claim.lock")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: *claim.lock: exists, and a lock is not written twice; *"])


def test_a_lock_of_broken_controls_is_not_written(trials):
    """If a control arm fails with an error, its bounds are not known."""
    trials.write("@pytest.mark.gt1(source='x')\ndef test_bad():\n    raise RuntimeError('broken')\n")
    found = trials.run(*ARGS, "--unineuron-write-lock=claim.lock")
    assert found.ret == 22
    assert not (trials.path / "claim.lock").exists()
    found.result.stdout.fnmatch_lines(["the lock was not written: 1 control arms broke (RuntimeError: broken)"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"above": 0.5', '"above": 0.3'), "was changed or damaged after it was written"),
        (lambda text: text[:100], "is damaged or incomplete"),
        (lambda text: text.replace('"lock_version": 3', '"lock_version": 9'), "is of version 9, this one reads 3"),
        (
            lambda text: '{"schema_version": 6}',
            "has no lock_version, so it is no lock; make one: pytest-unineuron lock FILE evals/",
        ),
        (lambda text: None, "there is no such file; make one: pytest-unineuron lock FILE evals/"),
    ],
)
def test_an_unusable_lock_ends_the_run_before_any_trial(locked, damage, message):
    """Without the locked settings nothing can be tested: status 4."""
    path = locked.path / "claim.lock"
    text = damage(path.read_text())
    path.unlink()
    if text is not None:
        path.write_text(text)
    found = locked.run(LOCK)
    assert found.ret == 4
    assert message in found.result.stderr.str()


@pytest.mark.slow
def test_a_lock_applies_to_workers(locked):
    """All processes use the locked settings and run the same trials."""
    found = locked.run(LOCK, "-n2", "--unineuron-policy=any", subprocess=True)
    assert found.ret == 0
    assert found.report["lock_violations"] == []


def test_a_part_of_the_trials_can_be_locked(trials):
    """A trial that was deselected when the lock was written violates it when it runs."""
    trials.write(CLAIMS)
    assert trials.run(*ARGS, "-k", "news", "--unineuron-write-lock=claim.lock").ret == 0
    assert list(json.loads((trials.path / "claim.lock").read_text())["cases"]) == ["corpora[news] on neox-a"]
    assert trials.run(LOCK, "-k", "news").ret == 0
    (found,) = lock_violations(trials.run(LOCK))
    assert found == "corpora[code] on neox-a and 1 more: in this run, but not in the lock"


CONTROLLED = "def test_claim():\n    measure('size', 0.1, above=0.5)\n"


@pytest.mark.parametrize(
    ("body", "controls", "message"),
    [
        ("def test_claim():\n    raise KeyboardInterrupt\n", "untrained", "results were lost"),
        (CONTROLLED, "none", "1 deselected"),
        (CONTROLLED + "\ndef test_plain():\n    assert 0\n", "untrained", "the run ended with status 1"),
    ],
)
def test_a_lock_is_written_only_after_a_complete_run(trials, body, controls, message):
    """No lock is written if the run is interrupted, has no control arm or has a failing test."""
    trials.write("@pytest.mark.gt3(source='x')\n" + body)
    args = (ARGS[0], f"--unineuron-controls={controls}", "--unineuron-write-lock=claim.lock")
    found = trials.run(*args, subprocess=True)
    assert found.ret != 0
    assert not (trials.path / "claim.lock").exists()
    assert message in found.result.stdout.str() + found.result.stderr.str()


@pytest.mark.parametrize(
    ("statement", "files"),
    [
        ("import helpers\n", {"helpers.py": "X = 1\n"}),
        ("", {"helpers.py": "X = 1\n", "conftest.py": "pytest_plugins = ['helpers']\n"}),
        ("import pack.deep\n", {"pack/__init__.py": "X = 1\n", "pack/deep.py": "\n"}),
    ],
)
def test_changed_modules_of_the_project_violate_the_lock(trials, statement, files):
    """A module may be imported inside a function, as a plugin or as the package of another module."""
    for name, text in files.items():
        path = trials.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    trials.write("def late():\n    " + (statement or "pass") + "\n" + CLAIMS)
    assert trials.run(*ARGS, "--unineuron-write-lock=claim.lock").ret == 0
    path = trials.path / next(iter(files))
    path.write_text(path.read_text() + "Y = 2\n")
    (found,) = lock_violations(trials.run(LOCK))
    assert "changed since it was locked" in found


def test_a_name_may_have_two_bounds(trials):
    """Both bounds are locked, and neither violates the other."""
    trials.write(CLAIMS + "    measure('size', 0.2 if unineuron_case.control else 0.7, above=0.6)\n")
    assert trials.run(*ARGS, "--unineuron-write-lock=claim.lock").ret == 0
    assert trials.run(LOCK).ret == 0
