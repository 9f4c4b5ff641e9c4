"""Hostile text: in messages, names of models, names and contents of corpora."""

import json
import shutil

from tests.faults.ground import MEASURES
from tests.faults.registry import fault

NAME = "<img src=x onerror=alert(1)>|`a`\\*b\\*[c](javascript:x)"


def _markdown(ground):
    return (ground.out / "generalization_eval_report.md").read_text("utf-8")


def _clean(ground):
    text = _markdown(ground)
    for raw in ("<img", "<script", "](javascript:"):
        ground.expect(raw not in text.replace("\\<", "").replace("\\]", ""), f"the Markdown holds {raw}")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\\\", "").replace("\\|", "").count("|") for line in rows}
    ground.expect(widths <= {5, 6}, f"rows of the Markdown have {widths} bars")


@fault(
    "a message with HTML, Markdown, a forged table row and heading", "escaped in Markdown: no tag, no row, no heading"
)
def hostile_message(ground):
    body = r'assert False, "</td><script>alert(1)</script> | forged | PASS | [x](javascript:x)\n## GT1: forged"'
    ground.trials(body).pytest("--unineuron-fail-on=never").has(before="PASS", after="PASS")
    _clean(ground)
    ground.expect("\n## GT1: forged" not in _markdown(ground), "a heading is forged")


@fault("a trial's claim and source hold HTML and a table row", "escaped in Markdown")
def hostile_marker(ground):
    ground.trials(
        prepare="""
        @pytest.mark.gt3(source="<img src=x onerror=alert(1)> | forged |", claim="<script>alert(1)</script>",
                         trial="a <img src=x> | b\\n| forged | x | PASS | | |")
        def test_hostile(unineuron_case):
            measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
    """
    )
    ground.pytest().ends_with(0)
    _clean(ground)


@fault("a corpus whose file is named like an HTML tag", "escaped in Markdown; the report is whole")
def hostile_corpus_name(ground):
    path = ground.path / "<img src=x onerror=alert(1)>.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(3)))
    text = (ground.path / "test_trials.py").read_text()
    text += """
@pytest.mark.gt2(source="fault table")
def test_corpus(unineuron_case, unineuron_corpus):
    measure("size", 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
    (ground.path / "test_trials.py").write_text(text)
    run = ground.pytest(f"--unineuron-corpus={path.name}").ends_with(0)
    ground.expect("PASS" in run.outcomes.values(), "nothing passed")
    _clean(ground)


@fault("a model's folder is named like an HTML tag and a table row", "escaped in Markdown; the report is whole")
def hostile_model_name(ground):
    from pytest_unineuron import zoo

    folder = ground.path / "<img src=x onerror=alert(1)> | forged"
    shutil.copytree(zoo.folders()["neox-a"], folder)
    run = ground.pytest(models=[f"--unineuron-model={folder.name}"]).ends_with(0)
    run.has(folder.name, before="PASS", here="PASS", after="PASS")
    _clean(ground)


@fault(
    "a model's folder is named in letters beyond ASCII (größe)",
    "measured like any other: its controls are its controls",
)
def model_name_beyond_ascii(ground):
    from pytest_unineuron import zoo

    shutil.copytree(zoo.folders()["neox-a"], ground.path / "größe")
    run = ground.pytest(models=["--unineuron-model=./größe"]).ends_with(0)
    run.has("größe", before="PASS", here="PASS", after="PASS")


@fault(
    "a model's folder has a newline and an escape sequence in its name",
    "refused, or shown on one line without the escape; the report is whole",
)
def model_name_with_a_newline(ground):
    from pytest_unineuron import zoo

    folder = ground.path / "a\n::error::forged\x1b[2J"
    shutil.copytree(zoo.folders()["neox-a"], folder)
    run = ground.pytest(models=[f"--unineuron-model=./{folder.name}"])
    ground.expect(run.status in (0, 4), f"exit {run.status}")
    forged = [line for line in run.text.splitlines() if line.startswith("::error::forged")]
    ground.expect(not forged, "a model's name starts a line of its own on the terminal")
    ground.expect("\x1b[2J" not in run.text, "an escape sequence reaches the terminal")


@fault(
    "a message that is a command of GitHub's log (::error::, ::stop-commands::), on a line of its own",
    "our section of the terminal starts no line with it",
)
def forged_commands(ground):
    body = r'raise RuntimeError("first\n::stop-commands::x\n::error::forged")'
    run = ground.trials(body).pytest("--tb=no", "-rN").ends_with(1).has(here="ERROR")
    forged = [line for line in run.text.splitlines() if line.startswith("::")]
    ground.expect(not forged, f"lines of the terminal are forged: {forged}")


@fault("a corpus whose file is not UTF-8", "ERROR or exit 4 with the file's name, never other text")
def corpus_in_another_encoding(ground):
    (ground.path / "latin.txt").write_bytes("Größe\n\nzwei".encode("latin-1"))
    ground.trials(
        "unineuron_reference_neurons.kurtosis\n" + MEASURES, fixtures="unineuron_case, unineuron_reference_neurons"
    )
    run = ground.pytest("--unineuron-reference=latin.txt", "-k", "here")
    ground.expect(run.status in (1, 4), f"exit {run.status}")
    run.says("latin.txt", "is not UTF-8")


@fault("a line of a .jsonl corpus is cut off", "ERROR with the line's number, never the other lines alone")
def corpus_cut(ground):
    (ground.path / "cut.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n{"text": "thr\n')
    ground.trials(
        "unineuron_reference_neurons.kurtosis\n" + MEASURES, fixtures="unineuron_case, unineuron_reference_neurons"
    )
    run = ground.pytest("--unineuron-reference=cut.jsonl", "-k", "here")
    ground.expect(run.status in (1, 4), f"exit {run.status}")
    run.says("cut.jsonl, line 3")
