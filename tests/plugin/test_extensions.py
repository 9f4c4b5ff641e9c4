"""Extensions that a conftest, a plugin or an installed package declares."""

import os

import pytest

from pytest_unineuron import controls, statistics
from pytest_unineuron.reports.write import PAGE
from tests.plugin.inner import ONE

CONTROL = """
import copy
import torch
from pytest_unineuron import extend

@extend.control("noised", replaces="model", keeps="keeps every weight up to noise")
def noised(model, seed):
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return twin
"""
STATISTIC = """
from dataclasses import dataclass
import torch
from pytest_unineuron import extend
from pytest_unineuron.statistics.accumulator import Accumulator, Statistic

class LargestAccumulator(Accumulator):
    def __init__(self, units, device):
        self._largest = torch.full((units,), float("-inf"), dtype=torch.float64, device=device)

    def update(self, tile, scratch):
        self._largest = torch.maximum(self._largest, tile.amax(dim=0).double())

    def result(self):
        return Largest(self._largest.clone())

@extend.statistic("largest", sites=["pre", "units"])
@dataclass(frozen=True, eq=False)
class Largest(Statistic):
    accumulator = LargestAccumulator
    largest: torch.Tensor

    def __add__(self, other):
        return Largest(torch.maximum(self.largest, other.largest))

    @property
    def peak(self):
        return self.largest
"""
UNITS = """
from torch import nn
from pytest_unineuron import extend

class Doubled(nn.Linear):
    def __init__(self):
        super().__init__(128, 3, bias=False)
        nn.init.constant_(self.weight, 2.0)

@extend.units("doubled", site="residual")
def doubled(view):
    return [Doubled()]
"""
TRIAL = """
@pytest.mark.gt2(source="x", controls=["noised"])
def test_peak(unineuron_neurons, unineuron_measure):
    peaks = [unineuron_neurons.pre.peak, unineuron_neurons.of("doubled").peak]
    unineuron_measure("peak", float(min(peak.max() for peak in peaks)), above=-1e9)
"""
NOISED = """
@pytest.mark.gt2(source="x", controls=["noised"])
def test_mean(unineuron_neurons, unineuron_measure):
    unineuron_measure("mean", float(unineuron_neurons.pre.mean.max()))
"""
SHORT = (
    "--unineuron-model=nano:neox-a",
    "--unineuron-corpus=news",
    "--unineuron-tokens=600",
    "--unineuron-cache=cache",
)


@pytest.mark.slow
def test_a_control_a_statistic_and_units_of_a_conftest(trials):
    """They are used by name, under xdist too; a change of their source is another result, and breaks a lock."""
    trials.write(TRIAL).path.joinpath("conftest.py").write_text(CONTROL + STATISTIC + UNITS)
    assert trials.run(*SHORT, "--unineuron-write-lock=claim.lock").ret == 0
    first = trials.run(*SHORT, "-n", "2")
    assert (first.outcome("peak[news]"), list(first.arms("peak[news]"))) == ("VACUOUS", ["noised"])
    assert {"control noised", "statistic largest", "units doubled"} <= set(first.report["versions"])
    assert first.report["controls"]["noised"] == "keeps every weight up to noise"
    assert "keeps every weight up to noise" in (trials.path / "evaluation" / PAGE).read_text(encoding="utf-8")
    assert first.report["models"]["neox-a"]["units"]["doubled"]["units"] == 3
    assert trials.run(*SHORT, "--unineuron-fail-on=never").report["forward_passes"] == 0

    trials.path.joinpath("conftest.py").write_text(CONTROL.replace("0.5 *", "0.25 *") + STATISTIC + UNITS)
    again = trials.run(*SHORT, "--unineuron-fail-on=never")
    assert again.report["forward_passes"] > 0
    versions = [run.report["versions"]["control noised"] for run in (first, again)]
    assert versions[0] != versions[1]
    violated = trials.run("--unineuron-lock=claim.lock")
    assert violated.ret == 24


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n1", marks=pytest.mark.slow)])
def test_a_conftest_below_the_folder_is_reported(trials, workers):
    """Only workers read it, and the report names what it declares, with the words of its author."""
    deep = trials.write(NOISED).path / "deep"
    deep.mkdir()
    (trials.path / "test_trials.py").rename(deep / "test_trials.py")
    (deep / "conftest.py").write_text(CONTROL)
    found = trials.run(*SHORT, "--unineuron-fail-on=never", workers)
    assert "control noised" in found.report["versions"]
    assert found.report["controls"]["noised"] == "keeps every weight up to noise"


CHOSEN = """
class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("outside of a request")
    __dict__ = __class__

proxy = Proxy()
"""


def test_a_declared_control_can_be_chosen(trials):
    """It runs only where it is asked for; an object of the conftest that raises when it is looked at is let alone."""
    body = """
@pytest.mark.gt3(source="x")
def test_bias(unineuron_weights, unineuron_measure):
    unineuron_measure("mean bias", float(unineuron_weights.bias.mean()), above=-1e9)
"""
    trials.write(body).path.joinpath("conftest.py").write_text(CONTROL + CHOSEN)
    chosen = trials.run("--unineuron-model=nano:neox-a", "--unineuron-controls=noised")
    assert list(chosen.arms("bias")) == ["noised"]
    assert "noised" not in trials.run("--unineuron-model=nano:neox-a").arms("bias")


FOREIGN = """
import torch
from pytest_unineuron import extend

@extend.control("in-place", replaces="model", keeps="keeps nothing")
def in_place(model, seed):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model

@extend.control("broken", replaces="model", keeps="keeps nothing")
def broken(model, seed):
    assert seed is None, "a mistake in my control"

@extend.control("nothing", replaces="model", keeps="keeps nothing")
def nothing(model, seed):
    pass
"""


def test_a_control_from_outside_cannot_change_the_model_or_miss_by_a_mistake(trials):
    """It is given a copy. One that breaks is an error, whatever it raises, and no arm behind the model."""
    body = """
@pytest.mark.gt3(source="x", controls=["in-place", "shuffled", "broken", "nothing"])
def test_norm(unineuron_weights, unineuron_measure):
    unineuron_measure("norm", float(unineuron_weights.write_norm.mean()), higher_by=0.5)
"""
    trials.write(body).path.joinpath("conftest.py").write_text(FOREIGN)
    arms = trials.run("--unineuron-model=nano:neox-a").arms("norm")
    assert [arm["outcome"] for arm in arms.values()] == ["PASS", "PASS", "ERROR", "ERROR"]
    norms = [arm["measurements"][0]["value"] for arm in arms.values() if arm["measurements"]]
    assert norms[0] == 0
    assert norms[1] > 0.1
    assert "control 'broken': AssertionError: a mistake in my control" in arms["broken"]["reason"]
    assert "control 'nothing': returned a NoneType; return another model" in arms["nothing"]["reason"]


@pytest.mark.slow
def test_a_package_names_its_extensions_in_an_entry_point(trials, monkeypatch):
    """Their source is that of all modules of the package that they import."""
    package = trials.path / "site-packages" / "acme"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "scale.py").write_text("SCALE = 0.5\n")
    (package / "noise.py").write_text("from acme.scale import SCALE\n" + CONTROL.replace("0.5 *", "SCALE *"))
    metadata = trials.path / "site-packages" / "acme-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[pytest_unineuron]\nnoise = acme.noise\n")
    monkeypatch.setenv("PYTHONPATH", str(trials.path / "site-packages"), prepend=os.pathsep)
    trials.write(NOISED)
    runs = []
    for scale in ("0.5", "0.25"):
        (package / "scale.py").write_text(f"SCALE = {scale}  # {scale}\n")
        runs.append(trials.run(*SHORT, "--unineuron-fail-on=never", subprocess=True).report)
    assert [list(run["trials"][0]["subjects"]["neox-a"]["cases"][0]["controls"]) for run in runs] == [["noised"]] * 2
    assert runs[0]["versions"]["control noised"] != runs[1]["versions"]["control noised"]
    assert runs[0]["trials"][0]["code"] != runs[1]["trials"][0]["code"]
    assert runs[1]["forward_passes"] > 0


OTHERS = """
from pytest_unineuron import extend
from pytest_unineuron.corpora.corpus import Corpus, Document

@extend.corpus("laws")
def laws():
    return Corpus("laws", tuple(Document(f"Law {i}: nobody may park {i} cars in street {i * i}.") for i in range(90)))

@extend.report("trials.txt")
def names(evidence):
    return " ".join(record.name for record in evidence.trials)

acme = extend.family("nano:neox-a", seeds=("nano:neox-c",))
"""


def test_corpora_reports_and_families(trials):
    """A corpus is named like those that ship, a report is written with the others, and a family has seeds."""
    body = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_laws(unineuron_corpus, unineuron_universality, unineuron_measure):
    unineuron_measure("seeds", len(unineuron_universality.seeds), above=0)
"""
    trials.write(body).path.joinpath("conftest.py").write_text(OTHERS)
    more = ("--unineuron-corpus=laws", "--unineuron-fail-on=never", "--unineuron-controls=none")
    found = trials.run(*SHORT, *more)
    assert (trials.path / "evaluation" / "trials.txt").read_text() == "laws[news] laws[laws]"
    (case,) = found.trial("laws[laws]")["subjects"]["neox-a"]["cases"]
    assert [each["value"] for each in case["subject"]["measurements"]] == [1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            'return Corpus("odd", (Document("One."), Document("Two.", language="\\ud800")))',
            "document 2, field 'language'",
        ),
        ('raise KeyError("gone")', "gone"),
    ],
)
def test_a_corpus_that_cannot_be_read_costs_its_trials(trials, body, words):
    """The run goes on, and the error names what is wrong."""
    trial = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_claim(unineuron_case, unineuron_corpus, unineuron_lab):
    unineuron_lab.corpus(unineuron_corpus)
    measure("x", 0 if unineuron_case.control else 1, above=0.5)
"""
    corpus = f'\n@extend.corpus("odd")\ndef odd():\n    {body}\n'
    trials.write(trial).path.joinpath("conftest.py").write_text(OTHERS + corpus)
    found = trials.run(*SHORT, "--unineuron-corpus=odd")
    assert (found.outcome("claim[odd]"), found.outcome("claim[news]")) == ("ERROR", "PASS")
    assert words in found.reason("claim[odd]")


def test_the_hook_returns_extensions(trials):
    """It may decide by the options of the run, and return a module."""
    trials.write(NOISED).path.joinpath("noise.py").write_text(CONTROL)
    hook = """
def pytest_unineuron_extensions(config):
    import noise
    return [noise] if config.option.verbose else []
"""
    trials.path.joinpath("conftest.py").write_text(hook)
    found = trials.run(*SHORT, "-v", "--unineuron-fail-on=never")
    assert list(found.arms("mean[news]")) == ["noised"]
    trials.run(*SHORT).result.stdout.fnmatch_lines(["*mean: no control noised; there are untrained,*"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"noised"', '"shuffled"', "*conftest.py: there is a control 'shuffled' already, in pytest_unineuron; choose*"),
        (
            '"model"',
            '"weights"',
            "*control 'noised': replaces='weights'; choose from model, units, text, pairing, labels",
        ),
        ('"noised"', '"none"', "*conftest.py: control 'none': is a word of --unineuron-controls; choose another name"),
        ('"noised"', '"noised.twice"', "*control 'noised.twice': a name has no ~ and no dot, which set draws apart"),
    ],
)
def test_a_declaration_that_cannot_be_used(trials, old, new, message):
    """The message names the file, the extension and what there is to choose from. Nothing is left of it."""
    trials.write(TRIAL).path.joinpath("conftest.py").write_text(CONTROL.replace(old, new))
    found = trials.run(*ONE)
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([message])
    assert "noised" not in controls.CONTROLS
    assert set(statistics.STATISTICS.files) == set()


def test_a_corpus_that_ships_is_not_replaced(trials):
    """Its name would stand in the report for another text."""
    trials.write(TRIAL).path.joinpath("conftest.py").write_text(OTHERS.replace('"laws"', '"news"'))
    found = trials.run(*ONE)
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(
        ["*conftest.py: there is a corpus 'news' already, in pytest_unineuron; choose another name"]
    )
