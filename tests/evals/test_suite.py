"""The suite as it ships: its shape, its catalogue, and what it does on models that have nothing to show."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from pytest_unineuron import controls
from pytest_unineuron.reports.write import REPORT, SUMMARY
from tests.evals.catalogue import EVALS, catalogue
from tests.evals.once import once

NEWS = "--unineuron-corpus=news"
COMPARED = controls.defaults({controls.ACTIVATIONS, controls.SEEDS})
"""The controls of a trial that compares seeds."""


def run(out, *args, status=0):
    """Run the suite in a process of its own; returns the report and what was printed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(EVALS),
        "-q",
        "-p",
        "no:cacheprovider",
        f"--unineuron-out={out}",
        "--unineuron-fail-on=never",
        *args,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-2000:]
    return json.loads((out / REPORT).read_text(encoding="utf-8")), done.stdout


def outcomes(report):
    return {(t["name"], model): s["outcome"] for t in report["trials"] for model, s in t["subjects"].items()}


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """The report on an untrained model as the model under test."""
    return once(tmp_path_factory, "untrained", lambda out: run(out, NEWS, "--unineuron-model=untrained:nano:neox-a"))


def test_an_untrained_model_passes_nothing(untrained):
    """By measurement and controls: it looks like its own controls."""
    report, _ = untrained
    found = outcomes(report)
    assert "PASS" not in found.values(), found
    assert "ERROR" not in found.values(), found
    assert "PASS" not in {line["verdict"] for line in report["criteria"].values()}


def test_a_pass_is_one_model_corpus_and_arm(untrained):
    """Passes are counted once, however many trials read them."""
    report, _ = untrained
    # The reference and the new data: on the subject, its controls, with shifted documents too, and by two seeds. The
    # probe of number words: on the subject and its controls.
    alone, pairs = len(controls.defaults({controls.ACTIVATIONS})), len(COMPARED)
    assert report["forward_passes"] == 2 * (1 + pairs + 2) + (1 + alone)


def test_the_report_says_what_was_measured(untrained):
    """Models with their neurons, corpora with fingerprints and tokens, versions."""
    report, _ = untrained
    model = report["models"]["untrained:neox-a"]
    assert model["weights_sha256"] is None
    assert model["neurons"] > 0
    assert set(report["corpora"]) == {"prose", "news", "number-words"}
    assert report["corpora"]["news"]["tokens"]["untrained:neox-a"] > 6000
    assert len(report["corpora"]["news"]["fingerprint"]) == 64
    assert report["versions"]["torch"]


def test_every_arm_has_its_measurements(untrained):
    """Control arms record what they measured, under the same names."""
    report, _ = untrained
    (trial,) = [t for t in report["trials"] if t["name"] == "neurons_are_mostly_off[prose]"]
    (case,) = trial["subjects"]["untrained:neox-a"]["cases"]
    names = [m["name"] for m in case["subject"]["measurements"]]
    assert set(case["controls"]) == set(controls.defaults({controls.ACTIVATIONS})) != set()
    for arm in case["controls"].values():
        assert [m["name"] for m in arm["measurements"]] == names


def test_an_encoder_runs_to_the_end(minilm, tmp_path):
    """MiniLM has no unembedding and another tokenizer; what does not apply is NA, and nothing breaks."""
    report, _ = run(
        tmp_path,
        NEWS,
        f"--unineuron-model={minilm}",
        "-k",
        "not number",
        "--unineuron-tokens=8000",
        "--unineuron-controls=reinitialised",
    )
    found = {outcome for (name, _), outcome in outcomes(report).items() if "number" not in name}
    assert "ERROR" not in found
    assert report["models"]["model"]["neurons"] == 6 * 1536
    assert report["models"]["model"]["class"] == "BertModel"


def test_gt1_does_not_ask_a_studied_model(tmp_path):
    """NA with the reason, without loading it."""
    report, _ = run(tmp_path, "-m", "gt1", "--unineuron-model=nano:gpt2-a")
    reasons = {s["reason"] for t in report["trials"] for s in t["subjects"].values() if t["criterion"] == "GT1"}
    assert reasons == {"not a new model: the zoo's stand-in for the paper's GPT-2 models"}
    assert report["forward_passes"] == 0


def test_trained_seeds_are_apart_from_every_control(tmp_path):
    """On both architectures of the zoo, no interval of the model overlaps that of a control."""
    report, _ = run(
        tmp_path,
        "-k",
        "test_neurons_are_universal or privileged_basis",
        "--unineuron-model=nano:neox-a",
        "--unineuron-model=nano:gpt2-a",
    )
    compared = 0
    for trial in report["trials"]:
        for model, subject in trial["subjects"].items():
            for case in subject["cases"]:
                own = {m["name"]: m for m in case["subject"]["measurements"] if m["above"] and m["low"] is not None}
                for name, arm in case["controls"].items():
                    for other in arm["measurements"]:
                        if other["name"] in own:
                            compared += 1
                            assert own[other["name"]]["low"] > other["high"], (model, name, other["name"])
    assert compared == len(COMPARED) * (2 + 1 + 1)  # two numbers on neox-a and one each for the basis
    found = outcomes(report)
    assert found["neurons_are_universal[prose]", "neox-a"] == "PASS"
    assert found["excess_needs_a_privileged_basis[prose]", "gpt2-a"] == "PASS"


BROKEN_MODELS = {
    "weightless": (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights"),
    "junk": (lambda folder: (folder / "model.safetensors").write_bytes(b"junk"), "its weights cannot be loaded"),
    "wordless": (lambda folder: (folder / "tokenizer.json").unlink(), "its tokenizer cannot be loaded"),
}


def test_models_that_cannot_be_measured_are_an_error_in_one_line_each(tiny, tmp_path):
    """ERROR outcomes, exit status 1, and no traceback from deep inside."""
    for name, (make, _) in BROKEN_MODELS.items():
        make(shutil.copytree(tiny("gpt_neox"), tmp_path / name))
    report, printed = run(
        tmp_path / "out",
        "-m",
        "gt1",
        "-k",
        "mostly_off",
        *(f"--unineuron-model={tmp_path / name}" for name in BROKEN_MODELS),
        status=1,
    )
    found = outcomes(report)
    for name, (_, words) in BROKEN_MODELS.items():
        assert found["neurons_are_mostly_off[prose]", name] == "ERROR"
        assert words in printed
    assert "Traceback" not in printed
    assert not re.search(r"^E   ", printed, re.MULTILINE)


BROKEN_CORPORA = {
    "empty.txt": (b"", "0 documents with text"),
    "one.txt": (b"x", "1 document with text"),
    "binary.txt": (b"\x00\x01\xff", "is not UTF-8 text"),
    "bad.jsonl": (b'{"text": "a"}\n{', "bad.jsonl, line 2: not JSON"),
}


def on_corpora(tmp_path, contents, **how):
    """What becomes of the trial that replicates on other text, and what is printed."""
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    report, printed = run(
        tmp_path / "out",
        "-m",
        "gt2",
        "-k",
        "replicate",
        "--unineuron-model=nano:neox-a",
        "--unineuron-controls=none",
        *(f"--unineuron-corpus={tmp_path / name}" for name in contents),
        **how,
    )
    assert "Traceback" not in printed
    return [outcome for outcome in outcomes(report).values() if outcome != "NOT_RUN"], printed


def test_corpora_that_cannot_be_measured_are_never_a_pass(tmp_path):
    """ERROR, with the file and the line."""
    found, printed = on_corpora(tmp_path, {name: content for name, (content, _) in BROKEN_CORPORA.items()}, status=1)
    assert found == ["ERROR"] * len(BROKEN_CORPORA)
    assert not [words for _, words in BROKEN_CORPORA.values() if words not in printed]


def test_a_corpus_of_which_there_is_too_little_is_never_a_pass(tmp_path):
    found, _ = on_corpora(tmp_path, {"tiny.txt": b"a\n\nb"})
    assert set(found) == {"NA"}


def test_every_trial_is_in_the_catalogue():
    """evals/README.md names every trial, and no trial that is not there."""
    functions = {
        n for path in EVALS.rglob("gt?_*/test_*.py") for n in re.findall(r"^def test_(\w+)", path.read_text(), re.M)
    }
    assert functions == set(catalogue())


def test_the_summary_is_the_two_keys(untrained, tmp_path):
    """Of the real suite too."""
    run(tmp_path, "-m", "gt3", "-k", "head_circuits", "--unineuron-model=nano:neox-a")
    summary = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    assert set(summary) == {"Checklist", "Rationale"}
