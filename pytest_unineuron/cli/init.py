"""``pytest-unineuron init``: puts a suite to start from into a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.errors import OptionError
from pytest_unineuron.reports.write import write_text
from pytest_unineuron.system.paths import resolve_path

if TYPE_CHECKING:
    import argparse

STARTER = Path(__file__).parent / "starter"
FILES = {
    "evals/pytest.ini": "the model and the corpora under test",
    "evals/conftest.py": "short names for fixtures",
    "evals/test_claims.py": "three trials, one for each criterion",
    ".github/workflows/unineuron.yml": "a gate that compares every push with the accepted baseline",
}
"""What each file of the starter suite holds, by its path in the project."""
NEXT = """
Next{where}:
  pytest evals/                                              # passes as it is; then name your model in evals/pytest.ini
  pytest-unineuron accept --baseline evals/baseline.json     # what later runs are compared with; commit it
  pytest evals/ --unineuron-baseline=evals/baseline.json     # what the workflow runs"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="the project (default: this folder)")


def write_starter(typed: argparse.Namespace) -> int:
    """Write the starter suite into a folder and print what to type next.

    Raises OptionError, and writes nothing, if one of its files exists or the folder cannot be written to.
    """
    folder = resolve_path(typed.folder)
    if there := [name for name in FILES if (folder / name).exists()]:
        raise OptionError(f"{folder / there[0]}: exists, and init overwrites nothing; name another folder, or move it")
    for name, holds in FILES.items():
        try:
            content = (STARTER / Path(name).name).read_text(encoding="utf-8")
            write_text(folder / name, content, exclusive=True)
        except OSError as error:
            raise OptionError(f"{folder / name}: cannot be written ({error.strerror}); name another folder") from None
        print(f"{folder / name}: {holds}")
    print(NEXT.format(where="" if typed.folder == "." else f", in {typed.folder}"))
    return 0
