"""The start of pytest with the plugin installed, which must not slow down or change other runs."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "transformers", "pandas")
PLAIN = "def test_plain():\n    pass\n"
SPY = """
import sys

def pytest_unconfigure():
    heavy = [name for name in {heavy} if name in sys.modules]
    print("HEAVY:", *heavy)
"""


def heavy_imports(code):
    """The heavy packages that some code imports in a new process."""
    script = f"{code}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "plugin.hooks",
        "options",
        "plugin.session",
        "evidence.collector",
        "lab.arm",
        "controls",
        "corpora.find",
        "cli.main",
    ],
)
def test_a_light_module_imports_nothing_heavy(module):
    """The modules that pytest loads at its start need no heavy package."""
    assert heavy_imports(f"import pytest_unineuron.{module}") == []


def test_heavy_imports_are_noticed():
    """Instruments import PyTorch, so the check above can fail."""
    assert "torch" in heavy_imports("import pytest_unineuron.roles.label_sums")


CHANGES = """
import os, sys
before = dict(os.environ)
from pytest_unineuron import contrast, jackknife, measure, within
assert dict(os.environ) == before, set(os.environ) ^ set(before)
import torch
threads = torch.get_num_threads()
from pytest_unineuron import Arm, Lab, load_report, open as open_study
assert dict(os.environ) == before and torch.get_num_threads() == threads
"""


def test_importing_public_names_changes_nothing_in_the_process():
    """Environment variables and the number of threads are set only when a run makes its lab."""
    subprocess.run([sys.executable, "-c", CHANGES], check=True)


def test_a_run_without_trials_is_not_changed(trials):
    """The plugin prints, writes and imports nothing."""
    trials.pytester.makeconftest(SPY.format(heavy=HEAVY))
    trials.pytester.makepyfile(PLAIN)
    before = sorted(path.name for path in trials.path.iterdir())
    found = trials.run("-s", subprocess=True)
    found.result.stdout.fnmatch_lines(["HEAVY:"])
    found.result.stdout.no_fnmatch_line("*universal neurons: do they*")
    assert "unineuron" not in found.result.stdout.str().replace("unineuron-0", "").lower().split("plugins:")[0]
    assert found.ret == 0
    own = ("__pycache__", "runpytest", "stdout", "stderr")  # files of pytester and of Python
    assert sorted(path.name for path in trials.path.iterdir() if not path.name.startswith(own)) == before


def test_a_run_without_trials_is_not_changed_under_xdist(trials):
    """The plugin prints and writes nothing, in the controller and in workers."""
    trials.pytester.makepyfile(PLAIN + "def test_other():\n    pass\n")
    found = trials.run("-n2", "-p", "cacheprovider", subprocess=True)
    found.result.assert_outcomes(passed=2)
    found.result.stdout.no_fnmatch_line("*universal neurons: do they*")
    assert not (trials.path / "evaluation").exists()
    assert (trials.path / ".pytest_cache").is_dir()
    assert not list(trials.path.glob(".pytest_cache/d/*"))


def test_the_plugin_can_be_switched_off(trials):
    """With -p no:unineuron its options do not exist."""
    trials.pytester.makepyfile(PLAIN)
    found = trials.run("-p", "no:unineuron", "--help")
    found.result.stdout.no_fnmatch_line("*--unineuron*")


def test_the_plugin_can_be_loaded_by_hand(trials, monkeypatch):
    """If autoloading is off, -p takes the name of the module."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    trials.pytester.makepyfile(PLAIN)
    found = trials.run("-p", "pytest_unineuron.plugin.hooks", "--help", subprocess=True)
    found.result.stdout.fnmatch_lines(["*--unineuron-model=MODEL*"])
