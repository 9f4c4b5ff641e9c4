"""The plugin together with other plugins, options of pytest and unusual places to run.

Where each of them is tested:

====================================================  ================================================================
``-n0 -n1 -n2``, ``-n 4``, ``-n auto``                test_xdist, test_scheduler
every ``--dist`` mode                                 test_xdist
a killed worker, in setup and in call                 test_xdist; its other items: test_scheduler
``--max-worker-restart=0``, ``--maxfail``             test_xdist
``-x``, ``--lf``, ``--ff``, ``--sw``                  test_xdist, test_selection
``-k``, ``-m``, nothing selected, ``--co -q``         test_selection, test_markers, test_option_out
``-q``, ``-qq``, ``--no-header``, ``--no-summary``    test_quiet
``-p no:terminal``, ``no:cacheprovider`` …            test_quiet, test_selection, here; ``no:unineuron``: test_start_up
``-W error``, ``-o strict=true``                      here
``--junitxml``                                        test_junit
``--reruns``, ``--timeout``                           test_reruns, test_timeout
subtests, ``@given``                                  test_subtests, test_given
duplicate ids, ids beyond ASCII                       test_ids
a folder that cannot be written to, no git            here; ``--unineuron-out``: test_option_out
two runs at once, one after the other                 here
``PYTEST_DISABLE_PLUGIN_AUTOLOAD``                    here, test_start_up
another order of items                                here
====================================================  ================================================================
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.inner import HOLDS, MISSES, ONE, WORKERS

NEVER = (*ONE, "--unineuron-fail-on=never")
SUMMARY = "evaluation/generalization_eval_summary.json"
STRICT = ["-o", "strict=true"] if pytest.version_tuple >= (9,) else ["--strict-markers", "--strict-config"]

OVERLAP = """
def test_meet():
    import os, time
    from pathlib import Path
    Path(f"{os.getpid()}.met").touch()
    deadline = time.monotonic() + 300
    while len(list(Path().glob("*.met"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""
"""A test that ends only when a second run has started, so that two runs overlap."""


def is_complete(found):
    """Check that both trials have their expected outcomes and that nothing is missing. Returns True."""
    assert (found.outcome("good"), found.outcome("bad")) == ("PASS", "FAIL")
    assert found.report["incomplete"] == []
    return True


@pytest.mark.parametrize("workers", WORKERS)
def test_no_warning_is_raised(trials, workers):
    """The plugin raises no warning at the start, in collection, in a trial, on a worker or at the end."""
    found = trials.write(HOLDS + MISSES).run(*NEVER, "-W", "error", workers, subprocess=True)
    assert found.ret == 0
    assert is_complete(found)


def test_trials_run_in_strict_mode(trials):
    """All markers and ini keys are registered, and all ids are unique."""
    trials.pytester.makeini("[pytest]\nunineuron_model = nano:neox-a\n")
    found = trials.write(HOLDS + MISSES).run(*STRICT, "--unineuron-fail-on=never", "--unineuron-controls=untrained")
    assert found.ret == 0
    assert is_complete(found)


@pytest.mark.parametrize("name", ["junitxml", "xdist", "warnings", "assertion", "capture", "stepwise"])
def test_other_plugins_may_be_switched_off(trials, name):
    """Trials run and are judged if a plugin that comes with pytest, or xdist, is switched off with -p."""
    found = trials.write(HOLDS + MISSES).run(*NEVER, "-p", f"no:{name}")
    assert found.ret == 0
    assert is_complete(found)


def test_xdist_need_not_be_installed(trials, monkeypatch):
    """An installation without it is imitated by a module of its name that cannot be imported."""
    (trials.path / "xdist.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(trials.path), *sys.path]))
    assert is_complete(
        trials.write(HOLDS + MISSES).run(*NEVER, "-p", "no:xdist", "-p", "no:xdist.looponfail", subprocess=True)
    )


@pytest.mark.parametrize(
    ("name", "workers"), [("unineuron", ()), ("pytest_unineuron.plugin.hooks", ("-p", "xdist", "-n2"))]
)
def test_the_plugin_can_be_loaded_without_autoloading(trials, monkeypatch, name, workers):
    """If autoloading is off, -p takes the name of the plugin or of its module, with or without workers."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    found = trials.write(HOLDS + MISSES).run(*NEVER, "-p", name, *workers)
    assert found.ret == 0
    assert is_complete(found)


def test_two_runs_in_one_process_are_independent(trials):
    """A second run in the same process has none of the options, trials or results of the first."""
    first = trials.write(HOLDS + MISSES).run(*NEVER)
    assert is_complete(first)
    second = trials.write(HOLDS).run("--unineuron-model=nano:gpt2-b", "--unineuron-controls=shuffled")
    assert [trial["name"] for trial in second.report["trials"]] == ["good"]
    assert list(second.trial("good")["subjects"]) == ["gpt2-b"]
    assert second.report["settings"]["fail_on"] == "trial"


@pytest.mark.slow
def test_two_runs_at_once_can_share_a_folder(trials):
    """Both runs succeed, and the folder holds the complete report of one of them."""
    trials.write(HOLDS + MISSES + OVERLAP)
    command = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *NEVER]
    started = [subprocess.Popen(command, cwd=trials.path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    (summary, report) = trials.left()
    assert summary["Checklist"]["GT1_ModelGeneralization"] == "PASS"
    assert {trial["name"] for trial in report["trials"]} == {"good", "bad"}
    assert not [path.name for path in (trials.path / "evaluation").iterdir() if path.suffix == ".tmp"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here refuses every file")
def test_a_run_on_a_file_system_that_takes_no_files_ends(trials, monkeypatch):
    """Below /proc not even root can write. The run ends, shows its table and says which file was not written."""
    trials.write(HOLDS + MISSES)
    monkeypatch.chdir("/proc/self")
    found = trials.run(*NEVER, trials.path)
    assert found.ret == 22
    found.result.stdout.fnmatch_lines(["  good: size > *", "generalization_eval_summary.json was not written: *"])
    found.result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write to any folder")
def test_a_run_in_a_read_only_folder_ends(trials):
    """The run ends, shows its table and says which file was not written."""
    trials.write(HOLDS + MISSES)
    trials.path.chmod(0o555)
    try:
        found = trials.run(*NEVER)
    finally:
        trials.path.chmod(0o755)
    assert found.ret == 22
    found.result.stdout.fnmatch_lines(["  good: size > *", "generalization_eval_summary.json was not written: *"])


def test_no_other_program_is_needed(trials, monkeypatch):
    """The plugin calls no other program, and the folder need not be a repository."""
    monkeypatch.setenv("PATH", "")
    found = trials.write(HOLDS + MISSES).run(*NEVER)
    assert found.ret == 0
    assert is_complete(found)


@pytest.mark.parametrize("workers", [(), pytest.param(("-n2",), marks=pytest.mark.slow)])
def test_another_order_of_items_changes_no_verdict(trials, workers):
    """If another plugin shuffles items, controls may run before their subject. The summary is identical."""
    trials.write(HOLDS + MISSES).run(*NEVER)
    before = (trials.path / SUMMARY).read_bytes()
    trials.pytester.makeconftest(
        "import pytest, random\n\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_collection_modifyitems(items):\n    random.Random(5).shuffle(items)\n"
    )
    found = trials.run(*NEVER, *workers)
    assert found.ret == 0
    assert (trials.path / SUMMARY).read_bytes() == before
