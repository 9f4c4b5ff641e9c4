"""A folder with three trials, runs of the real pytest in it, and what came of them."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from tests.faults import account, witness

ROOT = Path(__file__).parents[2]
REPORT = "generalization_eval_report.json"
OUT = "evaluation"
FILE = """
import os, signal, sys, time
import pytest
from pytest_unineuron import measure


def once():
    "True for the first process that asks."
    try:
        os.close(os.open(os.environ["FAULTS_ONCE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

{prepare}

@pytest.mark.gt3(source="fault table")
def test_before(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)


@pytest.mark.gt3(source="fault table")
def test_here({fixtures}):
    value = 0.1 if unineuron_case.control else 0.9
{here}


@pytest.mark.gt3(source="fault table")
def test_after(unineuron_case):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
MEASURES = 'measure("size", value, above=0.5)'
ONE = ("--unineuron-model=nano:neox-a",)
TWO = (*ONE, "--unineuron-model=nano:gpt2-a")
APART = ("hypothesispytest", "rerunfailures", "timeout", "randomly", "benchmark")
"""Plugins that runs do without unless ``-p NAME`` asks for one."""
PATIENCE = 90
"""Seconds after which a run has not come to its end."""


@dataclass
class Run:
    """One process that ended. ``report`` is what it left in its folder, None if it left none."""

    ground: "Ground"
    status: int
    text: str
    report: dict | None = None
    noted: list = field(default_factory=list)
    recovered: list = field(default_factory=list)

    @property
    def resumed(self):
        """How many results are those of an earlier attempt."""
        return sum(
            arm["resumed"]
            for trial in (self.report or {"trials": []})["trials"]
            for subject in trial["subjects"].values()
            for case in subject["cases"]
            for arm in (case["subject"], *case["controls"].values())
        )

    @property
    def evidence(self):
        """Its report, and what was made of journals."""
        return [*([self.report] if self.report else []), *self.recovered]

    @property
    def planned(self):
        """Every item that was collected, where any was selected."""
        if not any(fact.get("selected") for fact in self.noted):
            return set()
        return {nodeid for fact in self.noted for nodeid in fact.get("planned", ())}

    @property
    def measured(self):
        """What every item handed over by the end of its body; of one that ran twice, the last."""
        return {fact["measured"]: fact["values"] for fact in self.noted if "measured" in fact}

    @cached_property
    def outcomes(self):
        """Outcomes by trial and model."""
        return {key: outcome for report in self.evidence[:1] for key, outcome in account.cases(report).items()}

    def outcome(self, trial, model="neox-a"):
        """The outcome of one trial."""
        return self.outcomes.get((trial, model, ""), "absent")

    def reason(self, trial, model="neox-a"):
        """The reason of one trial's own arm."""
        found = [
            case["subject"]["reason"]
            for t in (self.report or {"trials": []})["trials"]
            if t["name"] == trial
            for case in t["subjects"][model]["cases"]
        ]
        return found[0] if found else ""

    def ends_with(self, *statuses):
        """Expect one of these exit statuses."""
        self.ground.expect(self.status in statuses, f"exit {self.status} instead of {' or '.join(map(str, statuses))}")
        return self

    def has(self, model="neox-a", **outcomes):
        """Expect these outcomes of trials."""
        for trial, outcome in outcomes.items():
            found = self.outcome(trial, model)
            self.ground.expect(found == outcome, f"{trial} is {found} instead of {outcome}")
        return self

    def says(self, *texts):
        """Expect these words on the terminal."""
        for text in texts:
            self.ground.expect(text in self.text, f"does not say {text!r}")
        return self

    def never_says(self, *texts):
        """Expect that these words are nowhere on the terminal."""
        for text in texts:
            self.ground.expect(text not in self.text, f"says {text!r}")
        return self

    def in_words(self):
        """Exit status and outcomes."""
        words = f"exit {self.status}" if self.status >= 0 else f"killed by signal {-self.status}"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(self.outcomes.values()).items()))
        return words + (f": {counts}" if counts else "")


def _fresh(preexec):
    """What a process begins with: Ctrl-C means something, also where this command runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if preexec is not None:
        preexec()


class Ground:
    """Where one fault is made. ``broken`` collects what was expected and is not so, ``words`` what happened.

    ``struck`` names tests whose own result the fault takes away: they have to be named, on the terminal if there is no
    other place, and not kept.
    """

    def __init__(self, root):
        self.root = root
        self.path = root / "project"
        self.path.mkdir(parents=True)
        (self.path / "pytest.ini").write_text("[pytest]\n")
        self.runs, self.words, self.broken, self.struck = [], [], [], ()
        self.trials()

    # -- what is there -----------------------------------------------------------------------------------------

    def trials(self, here=MEASURES, *, fixtures="unineuron_case", prepare="", name="test_trials.py"):
        """Write the trial file, with ``here`` as the body of the middle one."""
        body = textwrap.indent(textwrap.dedent(here), "    ")
        text = FILE.format(here=body, fixtures=fixtures, prepare=textwrap.dedent(prepare))
        (self.path / name).write_text(text, encoding="utf-8")
        return self

    def write(self, name, text):
        """Write another file."""
        (self.path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    @property
    def out(self):
        """Where reports go."""
        return self.path / OUT

    def journals(self, kind="open"):
        """The journals that are there."""
        return sorted((self.out / "journal").glob(f"*.{kind}.jsonl"))

    # -- what is done ------------------------------------------------------------------------------------------

    def start(self, *arguments, models=ONE, controls="untrained", before=(), environment=(), preexec=None):
        """A run that is going on."""
        given = list(map(str, arguments))
        number = len(list(self.root.glob("witness-*.log")))
        log = self.root / f"witness-{number}.log"
        log.touch()
        apart = [part for name in APART if name not in given for part in ("-p", f"no:{name}")]
        command = [sys.executable, "-m", "pytest", "-p", "tests.faults.witness", *apart, *models]
        command += [f"--unineuron-controls={controls}"] if controls else []
        command += ["-q"] if "no:terminal" not in given else []
        process = subprocess.Popen(
            [*before, *command, *given],
            cwd=self.path,
            env=self._environment(log, environment),
            preexec_fn=partial(_fresh, preexec),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return process, log, self._stamp()

    def ended(self, started, out=None):
        """What came of a run that was started, once it has ended."""
        process, log, stamp = started
        try:
            closed = process.stdout.closed
            said, _ = (b"", process.wait(PATIENCE)) if closed else process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            self.expect(False, f"did not end within {PATIENCE} seconds")
        text = said.decode("utf-8", "replace")
        log.with_suffix(".txt").write_text(text, encoding="utf-8")
        report = account.parsed((out or self.out) / REPORT) if out or self._stamp() != stamp else None
        run = Run(self, process.returncode, text, report, witness.read(log))
        self.runs.append(run)
        self.words.append(run.in_words())
        return run

    def pytest(self, *arguments, out=None, **rest):
        """Run pytest to its end. ``out`` is where its report is found, if not where it always is."""
        return self.ended(self.start(*arguments, **rest), out)

    def cli(self, *arguments, environment=(), before=(), quiet=False):
        """Run ``pytest-unineuron``."""
        command = [*before, sys.executable, "-m", "pytest_unineuron.cli.main", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self._environment(self.root / "cli", environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
        run = Run(self, done.returncode, done.stdout.decode("utf-8", "replace"))
        if not quiet:
            self.words.append(f"{arguments[0]}: exit {done.returncode}")
        return run

    def recover(self, run, journals=None):
        """Make reports of the journals that were left open, as a user would."""
        for number, path in enumerate(self.journals() if journals is None else journals):
            folder = self.root / f"recovered-{len(run.recovered)}-{number}"
            self.cli("report", path, "--out", folder, quiet=True)
            if (report := account.parsed(folder / REPORT)) is not None:
                run.recovered.append(report)
        run.__dict__.pop("outcomes", None)
        return run

    # -- what came of it ---------------------------------------------------------------------------------------

    def expect(self, so, otherwise):
        """Expect that something is so; if not, the promise is broken, and these are the words for it."""
        if not so:
            self.broken.append(otherwise)

    def say(self, words):
        """Something that happened, for the table."""
        self.words.append(words)

    def lost(self):
        """What was lost, by node id. Journals are looked into where a run left no report."""
        if self.runs and any(run.report is None and run.planned for run in self.runs):
            self.recover(self.runs[-1], self.journals() + self.journals("done"))
        return account.lost(self.runs, self.struck)

    def _stamp(self):
        try:
            found = (self.out / REPORT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @staticmethod
    def _environment(log, more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UNINEURON_", "PYTEST_", "FAULTS_"))}
        added = {
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
            witness.WHERE: str(log),
            "FAULTS_ONCE": str(log.parent / "once"),
        }
        return {**kept, **added, **dict(more)}
