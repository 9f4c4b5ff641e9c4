"""The map of the house in docs/architecture.md shows the folders that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pytest_unineuron"
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOM = re.compile(r"^\| `([a-z/]+)/` \|", re.MULTILINE)
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_]*\.?p?y?)`")


def folders():
    """Every folder of the package that holds source, relative to it."""
    return {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}


def test_the_map_names_every_room_and_no_other():
    """A room that is added, renamed or removed is so on the map too."""
    assert set(ROOM.findall(MAP)) == folders()


def test_every_file_on_the_path_of_a_number_exists():
    """The path can be followed file by file."""
    path = MAP[MAP.index("## The path of a number") :]
    named = FILE.findall(path)
    assert len(named) > 10
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_the_package_root_holds_no_other_module():
    """Code belongs into a room; the only shim is the documented command ``python -m pytest_unineuron.collect``."""
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py", "collect.py"}


def test_tests_mirror_the_rooms():
    """A folder of tests is named after a room, or after something outside of the package."""
    rooms = {folder.split("/")[0] for folder in folders()}
    outside = {"evals", "faults", "fuzz", "tools"}
    found = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    assert found <= rooms | outside
