"""The folders of examples/ run as they are, and their extensions obey the laws of their kinds."""

import shutil
from pathlib import Path

import pytest

from pytest_unineuron.cli.main import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CONTROLS = {
    "own_null": {"untrained", "exchanged-inputs"},
    "attention_heads": {"untrained", "reinitialised", "shuffled"},
}
OPTIONS = ("--unineuron-model=nano:neox-a", "--unineuron-tokens=9000")


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/test_*.py")))
def test_an_example_passes(name, trials):
    """Its claim holds for a model that ships beyond every control, with the control of its own among them."""
    shutil.copytree(EXAMPLES / name, trials.path, dirs_exist_ok=True)
    found = trials.run(*OPTIONS, subprocess=True)
    assert found.ret == 0
    (trial,) = found.report["trials"]
    (case,) = trial["subjects"]["neox-a"]["cases"]
    assert (case["outcome"], set(case["controls"])) == ("PASS", CONTROLS[name])


def test_the_extensions_obey_their_laws(capsys):
    """The command is the one that their page names."""
    assert main(["check", *(str(EXAMPLES / "own_null" / name) for name in ("exchanged_inputs.py", "crest.py"))]) == 0
    assert "BROKEN" not in capsys.readouterr().out
