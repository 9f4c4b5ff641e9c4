"""``pytest-unineuron check``: laws that extensions obey, ours among them, and that bad ones break."""

from pathlib import Path

import pytest

from pytest_unineuron import controls, statistics
from pytest_unineuron.cli.conformance import laws
from pytest_unineuron.cli.main import main
from pytest_unineuron.extend import CONTROL, REPORT, STATISTIC, UNITS, Declaration
from pytest_unineuron.extend.table import load
from pytest_unineuron.reports.write import REPORT_FILES
from pytest_unineuron.universality.kinds import KINDS
from tests.plugin import test_extensions

OURS = [
    *(
        Declaration(CONTROL, name, Path(), {"replaces": row.replaces}, row.load())
        for name, row in controls.CONTROLS.items()
        if row.replaces != controls.SEED  # no function of the model and a seed; see tests/controls
    ),
    *(Declaration(STATISTIC, name, Path(), make=statistics.statistic_class(name)) for name in statistics.STATISTICS),
    *(
        Declaration(UNITS, name, Path(), {"site": row.site, "signed": row.signed}, load(row.encoders))
        for name, row in KINDS.items()
        if row.encoders
    ),
    *(Declaration(REPORT, name, Path(), make=make) for name, make in REPORT_FILES.items()),
]


@pytest.mark.parametrize("each", OURS, ids=lambda each: each.name)
def test_ours_obey_every_law(each):
    """The laws are those that an extension has to obey."""
    found = dict(laws(each))
    assert len(found) >= 4
    assert [law for law, holds in found.items() if not holds] == []


CONTROL_FILE, STATISTIC_FILE = test_extensions.CONTROL, test_extensions.STATISTIC
CORPUS_FILE = """
from pytest_unineuron import extend
from pytest_unineuron.corpora.corpus import Corpus, Document

@extend.corpus("made-up")
def made_up():
    return Corpus("made-up", tuple(Document("one line, five times") for _ in range(5)))
"""
FAMILY_FILE = """
from pytest_unineuron import extend

acme = extend.family("acme/gpt-[0-9]", seeds=("acme/gpt-1", "acme/gtp-2"))
"""
UNITS_FILE = test_extensions.UNITS
REPORT_FILE = """
from pytest_unineuron import extend

@extend.report("first.txt")
def first(evidence):
    return evidence.trials[0].name
"""
BROKEN = {
    "unseeded": (CONTROL_FILE, "torch.Generator().manual_seed(seed)", "None", "the same seed gives the same weights"),
    "one draw": (CONTROL_FILE, "manual_seed(seed)", "manual_seed(0)", "another seed gives other weights"),
    "in place": (CONTROL_FILE, "copy.deepcopy(model)", "model", "the subject is left as it was"),
    "no null": (CONTROL_FILE, "0.5 *", "0 *", "it destroys something"),
    "not a sum": (STATISTIC_FILE, "Largest(torch.maximum(self.largest, other.largest))", "self", "batches add up"),
    "in order": (
        STATISTIC_FILE,
        "torch.maximum(self.largest, other.largest)",
        "torch.where(other.largest.isfinite(), other.largest, self.largest)",
        "the order of batches does not matter",
    ),
    "of any unit": (STATISTIC_FILE, "amax(dim=0)", "amax()", "the statistic of layers side by side"),
    "raises": (STATISTIC_FILE, "tile.amax", "tile.amaximum", "it raised AttributeError"),
    "repeats": (CORPUS_FILE, "", "", "no document is a copy of another"),
    "unknown origin": (CORPUS_FILE, "", "", "every document says where it comes from"),
    "drawn units": (UNITS_FILE, "nn.init.constant_(self.weight, 2.0)", "", "the same encoders each time"),
    "units of a batch": (
        UNITS_FILE,
        "    def __init__",
        "    forward = lambda self, values: super().forward(values - values[0])\n    def __init__",
        "the units of a token depend on no other token",
    ),
    "no module": (UNITS_FILE, "[Doubled()]", "[print]", "it raised ModelError: units 'doubled': 1 encoders, of them a"),
    "no text": (REPORT_FILE, "evidence.trials[0].name", "len(evidence.trials)", "it returns text"),
    "new text": (
        REPORT_FILE,
        "evidence.trials[0].name",
        'str(__import__("time").perf_counter_ns())',
        "the same evidence gives the same text",
    ),
    "changes": (REPORT_FILE, "return", "evidence.versions.clear()\n    return", "the evidence is left as it was"),
    "needs a result": (
        REPORT_FILE,
        "evidence.trials[0].name",
        "str(list(evidence.cases)[0].case.result.subject.measurements[0])",
        "it raised IndexError",
    ),
    "other seeds": (FAMILY_FILE, "", "", "the pattern matches its own seeds"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_extension_breaks_a_law(name, tmp_path, capsys):
    """The law is named, and the status is 1."""
    text, old, new, law = BROKEN[name]
    file = tmp_path / "extension.py"
    file.write_text(text.replace(old, new) if old else text)
    assert main(["check", str(file)]) == 1
    assert f"  BROKEN  {law}" in capsys.readouterr().out


def test_good_extensions_obey_every_law(tmp_path, monkeypatch, capsys):
    """They are named by file, by module or by what is in a module."""
    (tmp_path / "good_noise.py").write_text(CONTROL_FILE)
    (tmp_path / "good_peak.py").write_text(STATISTIC_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["check", "good_noise.py", "good_noise.noised", "good_peak"]) == 0
    out = capsys.readouterr().out
    assert (out.count("control noised"), out.count("statistic largest")) == (2, 1)
    assert "BROKEN" not in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "acme.missing",
            "acme.missing: cannot be imported (No module named 'acme'); give a file, a module, or MODULE.NAME",
        ),
        ("", "nothing: cannot be imported"),
        (".foo", ".foo: cannot be imported"),
        ("broken.py", "broken.py: cannot be imported (name 'undefined' is not defined)"),
        ("json", "json: declares nothing; decorate it, such as with pytest_unineuron.extend.control"),
    ],
)
def test_a_name_that_leads_to_no_extension(text, message, capsys, tmp_path, monkeypatch):
    """The message says what was found and what to give."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("undefined")
    assert main(["check", text]) == 4
    assert message in capsys.readouterr().err
