"""Models and corpora with hostile names or contents, and weights that change during a run."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from pytest_unineuron import zoo
from pytest_unineuron.models.loading.files_digest import files_digest
from pytest_unineuron.models.loading.source import parse_source
from tests.faults.three import MEASURES, outcomes, write

pytestmark = pytest.mark.fault

CONTROL = "--unineuron-controls=untrained"
HTML = "<img src=x onerror=alert(1)> | forged"
LOADED = "unineuron_case, unineuron_weights"


def copy(trials, name, model="neox-a"):
    """A copy of a nano model under another name."""
    return shutil.copytree(zoo.folders()[model], trials.path / name)


def forged_lines(text):
    """Lines of the terminal or the Markdown that only a hostile name can have started."""
    return [line for line in text.splitlines() if line.startswith(("::", "## forged", "INCOMPLETE: forged"))]


@pytest.mark.parametrize("name", [HTML, "a\n::error::forged\x1b[2J"], ids=["html", "newline"])
def test_a_model_of_any_name_is_measured_and_its_name_forges_nothing(trials, name):
    copy(trials, name)
    found = write(trials).run(f"--unineuron-model=./{name}", CONTROL)
    if "\n" in name:
        assert found.ret in (0, 4)
    else:
        assert outcomes(found, name) == "PASS PASS PASS"
        text = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
        assert "<img" not in text.replace("\\<", "")
        assert not forged_lines(text)
    printed = found.result.stdout.str() + found.result.stderr.str()
    assert "\x1b[2J" not in printed
    assert not forged_lines(printed)


def test_a_corpus_of_a_hostile_name_is_read_and_its_name_is_escaped(trials):
    (trials.path / f"{HTML}.jsonl").write_text(json.dumps({"text": "one"}) + "\n" + json.dumps({"text": "two"}) + "\n")
    write(trials, fixtures="unineuron_case, unineuron_corpus")
    path = trials.path / "test_trials.py"
    marker, here = 'gt3(source="x", controls=["untrained"])\n', "def test_here"
    path.write_text(path.read_text().replace(marker + here, "gt2(source='x')\n" + here))
    found = trials.run(f"--unineuron-corpus={HTML}.jsonl", "--unineuron-model=nano:neox-a", CONTROL)
    assert found.ret == 0
    text = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
    assert "<img" not in text.replace("\\<", "")


def test_the_digest_of_a_report_is_that_of_the_weights_that_were_loaded(trials):
    """The weight file is overwritten during the run, after the model was loaded."""
    expected = files_digest(parse_source(str(copy(trials, "mine"))))
    copy(trials, "other", model="neox-b")
    body = f'import shutil; shutil.copy("other/model.safetensors", "mine/model.safetensors")\n{MEASURES}'
    found = write(trials, body, fixtures=LOADED).run(
        "-k", "here", "--unineuron-model=./mine", "--unineuron-controls=none", subprocess=True
    )
    (case,) = found.trial("here")["subjects"]["mine"]["cases"]
    assert case["subject"]["outcome"] == "ERROR" or case["subject"]["made_from"]["models"]["mine"] == expected


class Payload:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def disguise(folder, ran):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(ran)))


def hide_code(folder, ran):
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model", "AutoModel": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("spoil", "outcome"), [(disguise, "ERROR"), (hide_code, "NA")])
def test_code_in_the_folder_of_a_model_is_not_run(trials, spoil, outcome):
    """The code is a pickle named model.safetensors, or a module that the configuration names."""
    spoil(copy(trials, "mine"), trials.path / "ran")
    found = write(trials, fixtures=LOADED).run("--unineuron-model=./mine", "--unineuron-controls=none", subprocess=True)
    assert outcomes(found, "mine") == f"NA {outcome} NA"
    assert not (trials.path / "ran").exists()
