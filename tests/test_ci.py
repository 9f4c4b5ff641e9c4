"""The workflows of this repository and the jobs in docs/ci.md: they are valid and use options that exist."""

import re
from pathlib import Path

import pytest
import yaml

from pytest_unineuron.cli.main import main
from pytest_unineuron.options.settings import OPTIONS

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
JOBS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TEXTS = {**{path.name: path.read_text(encoding="utf-8") for path in WORKFLOWS}, "ci.md": PAGE}


def steps(data):
    """The steps of all jobs of a workflow."""
    return [step for job in data["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_only_permission_to_read(path):
    """Its actions are pinned to a major version."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert data["permissions"] == {"contents": "read"}
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]) for step in steps(data) if "uses" in step)


@pytest.mark.parametrize("name", TEXTS)
def test_every_option_that_is_named_exists(name):
    """Workflows and page name only options of the plugin."""
    named = set(re.findall(r"--unineuron-([a-z-]+)", TEXTS[name]))
    assert named <= {option.name for option in OPTIONS}


def test_tests_run_on_three_systems():
    """They also run on every version of Python that the package declares."""
    matrix = yaml.safe_load(TEXTS["tests.yml"])["jobs"]["tests"]["strategy"]["matrix"]
    systems = {*matrix["os"], *(each["os"] for each in matrix["include"])}
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert matrix["python"] == named


def test_the_jobs_of_the_page_upload_reports_of_failed_runs():
    """Their YAML is valid, and files are uploaded whatever the exit status."""
    github, gitlab, parts = map(yaml.safe_load, JOBS)
    for job in (github, parts):
        assert [step["if"] for step in steps(job) if "upload" in step.get("uses", "")] == ["always()"]
    assert gitlab["gate"]["artifacts"]["when"] == "always"
    assert gitlab["criteria"]["allow_failure"] == {"exit_codes": [20]}


def test_the_job_of_the_page_is_that_of_this_repository():
    """The steps are equal except for the installation of the package."""
    page, here = (
        [step for step in steps(yaml.safe_load(text)) if "pip" not in step.get("run", "")]
        for text in (JOBS[0], TEXTS["gate.yml"])
    )
    for step in here:
        for name in ("cache", "cache-dependency-path"):
            step.get("with", {}).pop(name, None)
    assert page == here


def test_every_command_of_the_page_exists(capsys):
    """Each command has the options that the page gives it."""
    for command in sorted(set(re.findall(r"pytest-unineuron (\w+)", PAGE))):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    expected = {"accept": ["--baseline", "--partial"], "gate": ["--baseline", "--fail-on"]}
    for command, options in expected.items():
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        assert all(option in shown for option in options)
