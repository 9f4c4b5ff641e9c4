"""The examples of README and docs: their code is executed, and their commands are run in an empty folder.

In a page, ``python`` blocks share one namespace, except those with a trial, which are written to the test file that
was named last, and those that begin with a comment that names a file. Each line of a ``bash`` block is a command that
has to succeed, and a ``text`` block right after it has lines of its output, in order, with "…" for what is left out.
Other blocks show what needs a network, a GPU or minutes.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_unineuron.cli.main import COMMANDS
from pytest_unineuron.options.settings import OPTIONS

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"pytest": ["-m", "pytest"], "pytest-unineuron": ["-m", "pytest_unineuron.cli"]}
WITH_EXAMPLES = [name for name, text in TEXTS.items() if re.search(r"^```(bash|python)$", text, re.MULTILINE)]


class Page:
    """A page whose examples are executed in ``folder``; results are stored in ``cache``."""

    def __init__(self, text, folder, cache):
        self.text, self.folder, self.cache = text, folder, cache
        self.names, self.output = {"__name__": "page"}, None

    def execute(self, block):
        """Execute one block, a match of BLOCK."""
        kind, body = block.groups()
        if kind == "python" and (named := re.match(r"# (\w+\.py)\n", body)):
            (self.folder / named[1]).write_text(body, encoding="utf-8")
        elif kind == "python" and "@pytest.mark.gt" in body:
            name = re.findall(r"`(test_\w+\.py)`", self.text[: block.start()])[-1]
            (self.folder / name).write_text(body, encoding="utf-8")
        elif kind == "python":
            self.run_python(body)
        elif kind == "bash":
            self.output = [line for command in body.splitlines() for line in self.run(command)]
        elif kind == "text" and self.output is not None:
            patterns = [line.replace("[", "[[]").replace("…", "*") for line in body.splitlines()]
            pytest.LineMatcher(self.output).fnmatch_lines(patterns)
        if kind != "bash":
            self.output = None

    def run_python(self, body):
        """Execute code of the page, which knows the names of all code before it."""
        exec(compile(body, "page", "exec"), self.names)

    def run(self, command):
        """Run one command, and return the lines that it printed."""
        program, *arguments = shlex.split(command, comments=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("UNINEURON_", "GITHUB_", "PYTEST_"))}
        # Fewer tokens than readers get, who do not wait for a dozen runs.
        tokens = "44000" if "universal" in command else "10000"  # a comparison of seeds needs 300 documents
        ours = {
            "UNINEURON_TOKENS": tokens,
            "UNINEURON_THREADS": "1",
            "UNINEURON_CACHE": str(self.cache),
            "HF_HUB_OFFLINE": "1",
        }
        environment = {**environment, **ours, "COLUMNS": "80", "PYTHONUTF8": "1"}
        return self.output_of([*PROGRAMS[program], *arguments], environment)

    def output_of(self, arguments, environment, python=sys.executable):
        """Run a Python in the folder, and return the lines that it printed. It has to succeed."""
        done = subprocess.run(
            [python, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines()


def test_most_tutorials_have_examples():
    """The patterns that find them find some."""
    assert {"README.md", "docs/tutorial/first-run.md", "docs/tutorial/own-trial.md"} <= set(WITH_EXAMPLES)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The folder of finished statistics that pages share."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, cache, tmp_path, monkeypatch):
    """They run from top to bottom: tutorials in an empty folder, others beside a copy of the trials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if not name.startswith("docs/tutorial/"):
        shutil.copytree(ROOT / "evals", tmp_path / "evals", ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    page = Page(TEXTS[name], tmp_path, cache)
    for block in BLOCK.finditer(page.text):
        page.execute(block)


@pytest.mark.parametrize("name", TEXTS)
def test_named_options_and_commands_exist(name):
    """In all blocks and in the text, also where an example is not run."""
    assert set(re.findall(r"--unineuron-([a-z-]+)", TEXTS[name])) <= {option.name for option in OPTIONS}
    assert set(re.findall(r"`pytest-unineuron (\w+)|^pytest-unineuron (\w+)", TEXTS[name], re.MULTILINE)) <= {
        pair for command, *_ in COMMANDS for pair in ((command, ""), ("", command))
    } | {("COMMAND", "")}
