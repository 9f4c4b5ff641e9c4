"""The package as it is installed: the trials are in the wheel, and run in an empty folder."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from pytest_unineuron.reports.write import REPORT
from tests.docs.test_examples import BLOCK, TEXTS, Page

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parent.parent.parent
SOURCE = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "pytest_unineuron", "evals")
PIP = ("--no-deps", "--no-build-isolation", "--no-index", "-q")
FAILS = ("-k", "notebook_negative", "--unineuron-model=untrained:nano:neox-a", "--unineuron-controls=shuffled")
"""A run of one trial that needs no pass over a text and fails."""


def run(*command, folder, status=0):
    """The output of a command in a folder, without the packages that this process finds by PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "GITHUB_"))}
    done = subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def new_environment(folder):
    """The Python of a new virtual environment, which also finds the packages of this one, but no editable install."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    (Path(packages) / "outer.pth").write_text(sysconfig.get_path("purelib"))
    return python


def pip_install(python, *arguments):
    run(sys.executable, "-m", "pip", "--python", python, "install", *PIP, *arguments, folder=ROOT)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the package is built from."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """A wheel of this package."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", *PIP, "-w", out, source, folder=out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment in which the wheel is installed."""
    python = new_environment(tmp_path_factory.mktemp("installed"))
    pip_install(python, wheel)
    return python


def test_the_wheel_holds_every_trial_and_no_baseline(wheel):
    """The trials are those of evals/, file by file."""
    prefix = "pytest_unineuron/evals/"
    with ZipFile(wheel) as archive:
        found = {name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)}
        assert all(archive.read(prefix + name) == (ROOT / "evals" / name).read_bytes() for name in found)
    assert found == {path.relative_to(ROOT / "evals").as_posix() for path in (ROOT / "evals").rglob("*.py")} | {
        "README.md"
    }


def test_the_trials_run_in_an_empty_folder(installed, tmp_path):
    """Their source has a digest, and the command that is shown for a trial that failed runs it again."""
    out = run(installed, "-m", "pytest", "--pyargs", "pytest_unineuron.evals", *FAILS, folder=tmp_path, status=1)
    report = json.loads((tmp_path / "evaluation" / REPORT).read_text(encoding="utf-8"))
    digests = [trial["code"] for trial in report["trials"]]
    assert len(set(digests)) == len({trial["path"] for trial in report["trials"]})
    assert report["asked"]["paths"] == ["."]
    (again,) = (line.strip() for line in out.splitlines() if line.startswith("  pytest "))
    command = shlex.split(again)
    assert command[1:3] == [
        "--pyargs",
        "pytest_unineuron.evals.gt1_model.test_input_bias::test_notebook_negative_input_bias",
    ]
    assert "1 failed, 1 passed" in run(installed, "-m", *command, folder=tmp_path, status=1)


class InstalledPage(Page):
    """A page that is followed with the Python of another environment alone."""

    def __init__(self, name, folder, python):
        super().__init__(TEXTS[name], folder, folder / ".pytest_cache" / "d" / "unineuron")
        self.python, self.code = python, ""

    def run_python(self, body):
        """Run all code of the page so far, since every process begins anew."""
        self.code += body
        self.output_of(["-c", self.code], dict(os.environ))

    def output_of(self, arguments, environment):
        """Run the Python, without the packages that this process finds by PYTHONPATH."""
        own = {name: value for name, value in environment.items() if not name.startswith("PYTHONPATH")}
        return super().output_of(arguments, own, self.python)


@pytest.mark.parametrize("name", ["first-run", "own-model", "own-trial", "own-control"])
def test_the_tutorial_can_be_followed(name, installed, tmp_path):
    """Every page, in an empty folder, at 80 columns."""
    page = InstalledPage(f"docs/tutorial/{name}.md", tmp_path, installed)
    blocks = list(BLOCK.finditer(page.text))
    assert any(block[1] == "bash" for block in blocks)
    for block in blocks:
        page.execute(block)


def test_an_editable_install_has_the_trials_of_the_checkout(source, tmp_path):
    """They are found by the name of the package, where they are."""
    python = new_environment(tmp_path / "editable")
    pip_install(python, "-e", source)
    code = "from importlib.util import find_spec; print(find_spec('pytest_unineuron.evals').origin)"
    assert Path(run(python, "-c", code, folder=tmp_path).strip()) == source / "evals" / "__init__.py"
    found = run(python, "-m", "pytest", "--pyargs", "pytest_unineuron.evals", "--co", "-q", *FAILS[:2], folder=tmp_path)
    assert "evals/gt1_model/test_input_bias.py" in found or "\ngt1_model/test_input_bias.py" in found


def test_a_suite_starts_in_an_empty_folder(installed, tmp_path):
    """``init`` finds its files in the wheel, and pytest its trials."""
    run(installed, "-m", "pytest_unineuron.cli", "init", folder=tmp_path)
    found = run(installed, "-m", "pytest", "evals", "--co", "-q", folder=tmp_path)
    assert "test_claims.py::test_neurons_are_skewed[neox-a-prose]" in found
