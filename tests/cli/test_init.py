"""``pytest-unineuron init``: a suite to start from."""

import re

import pytest
import yaml

from pytest_unineuron.cli import init
from pytest_unineuron.cli.main import main
from pytest_unineuron.options.settings import OPTIONS


@pytest.mark.slow
def test_the_starter_suite_passes_at_once(trials, capsys):
    """It has one primary trial for each criterion, which a model that ships passes beside its controls."""
    assert main(["init"]) == 0
    assert "Next:\n  pytest evals/ " in capsys.readouterr().out
    found = trials.run("evals", "--unineuron-tokens=20000", subprocess=True)
    assert found.ret == 0
    assert list(found.summary["Checklist"].values()) == ["PASS"] * 3
    assert {(len(trial["subjects"]), trial["primary"]) for trial in found.report["trials"]} == {(1, True)}


def test_nothing_is_overwritten(tmp_path, capsys):
    """The message names the file, and no other file is written."""
    mine = tmp_path / "evals" / "conftest.py"
    mine.parent.mkdir()
    mine.write_text("# mine")
    assert main(["init", str(tmp_path)]) == 4
    assert f"{mine}: exists, and init overwrites nothing; name another folder" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "# mine"


def test_the_workflow_is_valid(tmp_path):
    """It has only permission to read, its actions are pinned, and its options exist."""
    main(["init", str(tmp_path)])
    text = (tmp_path / ".github" / "workflows" / "unineuron.yml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    assert data["permissions"] == {"contents": "read"}
    steps = [step for job in data["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert set(re.findall(r"--unineuron-([a-z-]+)", text)) <= {option.name for option in OPTIONS}
    assert all((tmp_path / name).is_file() for name in init.FILES)
