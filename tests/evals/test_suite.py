"""The suite of trials that ships: its catalogue, and its results on models without any effect."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.evals import forward_passes as passes_in
from pytest_unineuron import controls
from pytest_unineuron.evidence.journal import JOURNAL_FOLDER
from pytest_unineuron.reports.write import REPORT, SUMMARY
from tests.evals.catalogue import EVALS, catalogue
from tests.evals.shared import get_or_compute

NEWS = "--unineuron-corpus=news"
COMPARED = controls.defaults({controls.ACTIVATIONS, controls.SEEDS})
"""The controls of a trial that compares seeds."""


def run(out, *args, status=0):
    """Run the suite in a process of its own. Returns the report, None if nothing was measured, and the output."""
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
        "--unineuron-threads=1",  # as many as each worker of the tests has cores
        *args,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-2000:]
    report = out / REPORT
    return json.loads(report.read_text(encoding="utf-8")) if report.exists() else None, done.stdout + done.stderr


def forward_passes(out):
    """The event of every forward pass of a run, in order."""
    (journal,) = (out / JOURNAL_FOLDER).iterdir()
    return list(passes_in(journal))


def outcomes(report):
    return {(t["name"], model): s["outcome"] for t in report["trials"] for model, s in t["subjects"].items()}


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """The report on an untrained model as the model under test, what was printed, and its forward passes."""
    return get_or_compute(
        tmp_path_factory,
        "untrained",
        lambda out: (
            *run(out, NEWS, "--unineuron-model=untrained:nano:neox-a", "--unineuron-seed=nano:neox-b"),
            forward_passes(out),
        ),
    )


@pytest.mark.slow
def test_an_untrained_model_passes_nothing(untrained):
    """Its measurements are like those of its own controls."""
    report, *_ = untrained
    found = outcomes(report)
    assert "PASS" not in found.values(), found
    assert "ERROR" not in found.values(), found
    assert "PASS" not in {line["verdict"] for line in report["criteria"].values()}


@pytest.mark.slow
def test_forward_passes_are_shared_by_trials(untrained):
    """There is one pass for each arm, text and kind of result, however many trials read it."""
    report, _, passes = untrained
    assert len(passes) == report["forward_passes"]
    assert not [event for event in passes if passes.count(event) > 1]


@pytest.mark.slow
def test_the_report_describes_models_and_corpora(untrained):
    """It has the neurons of each model, the fingerprint and tokens of each corpus, and versions."""
    report, *_ = untrained
    model = report["models"]["untrained:neox-a"]
    assert model["weights_sha256"] is None
    assert model["neurons"] > 0
    assert set(report["corpora"]) == {"prose", "news", "number-words", "public-texts"}
    assert report["corpora"]["news"]["tokens"]["untrained:neox-a"] > 6000
    assert len(report["corpora"]["news"]["fingerprint"]) == 64
    assert report["versions"]["torch"]


@pytest.mark.slow
def test_every_arm_has_its_measurements(untrained):
    """Control arms record measurements with the names of those of the subject."""
    report, *_ = untrained
    (trial,) = [t for t in report["trials"] if t["name"] == "neurons_are_mostly_off[prose]"]
    (case,) = trial["subjects"]["untrained:neox-a"]["cases"]
    names = [m["name"] for m in case["subject"]["measurements"]]
    assert set(case["controls"]) == set(controls.defaults({controls.ACTIVATIONS})) != set()
    for arm in case["controls"].values():
        assert [m["name"] for m in arm["measurements"]] == names


@pytest.mark.real
def test_an_encoder_runs_to_the_end(minilm, tmp_path):
    """MiniLM has no unembedding and another tokenizer. Trials that do not apply are NA, and none is an ERROR."""
    report, _ = run(
        tmp_path,
        NEWS,
        f"--unineuron-model={minilm}",
        "-k",
        "not number",
        "--unineuron-tokens=4000",
        "--unineuron-controls=reinitialised",
    )
    found = {outcome for (name, _), outcome in outcomes(report).items() if "number" not in name}
    assert "ERROR" not in found
    assert report["models"]["model"]["neurons"] == 6 * 1536
    assert report["models"]["model"]["class"] == "BertModel"


@pytest.mark.slow
def test_gt1_is_not_applicable_to_a_studied_model(tmp_path):
    """The reason is reported, and the model is not run."""
    report, _ = run(tmp_path, "-m", "gt1", "--unineuron-model=nano:gpt2-a")
    reasons = {s["reason"] for t in report["trials"] for s in t["subjects"].values() if t["criterion"] == "GT1"}
    assert reasons == {"not a new model: the zoo's stand-in for the paper's GPT-2 models"}
    assert report["forward_passes"] == 0


@pytest.mark.slow
def test_a_trained_seed_lies_beyond_every_control(tmp_path):
    """The share of universal neurons does, beyond that of directions, on GPT-2; the tutorial has GPT-NeoX."""
    report, _ = run(tmp_path, "-k", "privileged_basis and gpt2", "--unineuron-seed=nano:gpt2-b")
    contrasts = [
        contrast
        for trial in report["trials"]
        for subject in trial["subjects"].values()
        for case in subject["cases"]
        for contrast in case["contrasts"]
    ]
    assert len(contrasts) == len(COMPARED)
    assert {contrast["standing"] for contrast in contrasts} == {"holds"}
    found = outcomes(report)
    assert found["excess_needs_a_privileged_basis[prose]", "gpt2-a"] == "PASS"


BROKEN_MODELS = {
    "junk": (lambda folder: (folder / "model.safetensors").write_bytes(b"junk"), "its weights cannot be loaded"),
    "wordless": (lambda folder: (folder / "tokenizer.json").unlink(), "its tokenizer cannot be loaded"),
}


@pytest.mark.slow
def test_models_that_cannot_be_loaded_are_errors_of_one_line(tiny, tmp_path):
    """The outcome is ERROR and the exit status is 1. There is no traceback."""
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
    assert report is None  # nothing was measured
    for name, (_, words) in BROKEN_MODELS.items():
        assert re.search(rf" neurons_are_mostly_off\[prose\] on {name}: .*{words}", " ".join(printed.split()))
    assert "Traceback" not in printed
    assert not re.search(r"^E   ", printed, re.MULTILINE)


BROKEN_CORPORA = {
    "empty.txt": (b"", "0 documents with text"),
    "one.txt": (b"x", "1 document with text"),
    "binary.txt": (b"\x00\x01\xff", "is not UTF-8 text"),
    "bad.jsonl": (b'{"text": "a"}\n{', "bad.jsonl, line 2: not JSON"),
}


@pytest.fixture
def run_on(tmp_path):
    """A function that runs the trial that replicates on text with these bytes."""

    def run_on(name, content, **options):
        (tmp_path / name).write_bytes(content)
        selected = ("-m", "gt2", "-k", "replicate", "--unineuron-model=nano:neox-a", "--unineuron-controls=none")
        return run(tmp_path / "out", *selected, f"--unineuron-corpus={tmp_path / name}", **options)

    return run_on


@pytest.mark.parametrize("name", BROKEN_CORPORA)
def test_a_damaged_corpus_is_refused_at_the_start(run_on, name):
    """The message names the file, and the line if there is one."""
    content, words = BROKEN_CORPORA[name]
    report, printed = run_on(name, content, status=4)
    assert report is None
    assert "Traceback" not in printed
    assert words in printed


@pytest.mark.slow
def test_a_corpus_that_is_too_small_is_na(run_on):
    """It says what is missing."""
    report, _ = run_on("tiny.txt", b"a\n\nb")
    assert {outcome for outcome in outcomes(report).values() if outcome != "NOT_RUN"} == {"NA"}


def test_every_trial_is_in_the_catalogue():
    """evals/README.md lists every trial, and no other."""
    functions = {
        n for path in EVALS.rglob("gt?_*/test_*.py") for n in re.findall(r"^def test_(\w+)", path.read_text(), re.M)
    }
    assert functions == set(catalogue())


@pytest.mark.slow
def test_the_summary_has_two_keys(untrained, tmp_path):
    """The format is that which other programs read."""
    run(tmp_path, "-m", "gt3", "-k", "head_circuits", "--unineuron-model=nano:neox-a")
    summary = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    assert set(summary) == {"Checklist", "Rationale"}
