"""What pyproject.toml declares: dependencies, their oldest versions, and one version of the package."""

import ast
import re
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"test", "dev", "docs", "browser"}
TESTED_EXTRAS = ("test", "xdist", "html", "gguf", "zstd")


def name_of(requirement):
    """The normalised name of what is required: ``huggingface-hub`` of ``huggingface_hub>=1.0``."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def imported():
    """The distributions that the modules of the package import anywhere, also inside functions."""
    known = packages_distributions()
    found = set()
    for path in (ROOT / "pytest_unineuron").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    outside = found - set(sys.stdlib_module_names) - {"pytest_unineuron"}
    return {name_of(known.get(name, [name])[0]) for name in outside}


def test_every_import_of_the_package_is_declared():
    """Each is a dependency, or one of an extra that users install; what is declared is imported."""
    required = {name_of(each) for each in PROJECT["dependencies"]}
    optional = {name_of(each) for extra, listed in EXTRAS.items() if extra not in FOR_DEVELOPERS for each in listed}
    assert imported() == required | optional


def test_the_group_of_developers_has_their_extras():
    """What the group names are extras of the package, so that no requirement is written down twice."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    (listed,) = re.fullmatch(r"pytest-unineuron\[(.+)\]", groups["dev"][0]).groups()
    assert set(listed.split(",")) <= FOR_DEVELOPERS


def test_the_oldest_versions_are_tested():
    """The environment ``minimum`` of tox has exactly the lower bounds."""
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    tested = dict(line.split("==") for line in tox["testenv:minimum"]["deps"].split())
    listed = [*PROJECT["dependencies"], *(each for name in TESTED_EXTRAS for each in EXTRAS[name])]
    bounds = dict(each.split(">=") for each in listed if ">=" in each)
    assert {name: padded(version) for name, version in tested.items()} == {
        name: padded(version) for name, version in bounds.items()
    }


def padded(version):
    """A version as three numbers: 2.6 is 2.6.0."""
    return [*map(int, version.split(".")), 0, 0][:3]


def test_the_version_is_that_of_the_latest_release_in_the_changelog():
    """It is written down nowhere else."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == PROJECT["version"]
    assert releases[1][1]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_every_section_of_the_changelog_is_one_of_keep_a_changelog():
    """Other headings would be overlooked."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_forms_and_settings_of_the_repository_are_valid():
    """Every YAML file of .github can be read, and dependabot looks at Python and at the actions."""
    files = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) >= 7
    parsed = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    assert {each["package-ecosystem"] for each in parsed["dependabot.yml"]["updates"]} == {"pip", "github-actions"}
