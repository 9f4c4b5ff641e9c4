"""docs/architecture.md and the packages that it describes."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pytest_unineuron"
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE_ROW = re.compile(r"^\| `([a-z/]+)/` \|", re.MULTILINE)
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_]*\.?p?y?)`")


def folders():
    """Every folder of the package that holds source, relative to the package."""
    return {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}


def test_the_table_lists_every_package():
    """It lists no other, so it changes with every package that is added, renamed or removed."""
    assert set(PACKAGE_ROW.findall(MAP)) == folders()


def test_every_file_on_the_path_of_a_number_exists():
    """The section names only files that exist."""
    path = MAP[MAP.index("## The path of a number") :]
    named = FILE.findall(path)
    assert len(named) > 10
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_the_package_root_holds_no_other_module():
    """Code belongs into a package. The exception is the command ``python -m pytest_unineuron.collect``."""
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py", "collect.py"}


def test_folders_of_tests_are_named_after_packages():
    """Other folders of tests are those of things outside of the package."""
    packages = {folder.split("/")[0] for folder in folders()}
    outside = {"docs", "evals", "faults", "fuzz", "tools"}
    found = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    assert found <= packages | outside
