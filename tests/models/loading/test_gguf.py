"""Models in a GGUF file. Those that are read need the packages of the extra, and SmolLM2 from its package."""

from importlib import util
from importlib.util import find_spec

import pytest
import torch

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading import gguf
from pytest_unineuron.models.loading.files_digest import files_digest
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source


@pytest.fixture
def junk(tmp_path):
    """A file that is not what its name says."""
    path = tmp_path / "junk.Q4_1.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    return path


@pytest.fixture
def extra():
    """Skip without the packages that read the format."""
    if missing := [name for name in gguf.PACKAGES if find_spec(name) is None]:
        pytest.skip(f'{" and ".join(missing)} not installed: pip install "pytest-unineuron[gguf]"')


def test_a_file_or_a_folder_with_one_is_a_model(junk):
    """The label is the name of the file without its ending, or that of the folder."""
    file, folder = parse_source(str(junk)), parse_source(str(junk.parent))
    assert (file.label, file.folder, file.gguf) == ("junk.Q4_1", junk.parent, junk.name)
    assert (folder.label, folder.folder, folder.gguf) == (junk.parent.name, junk.parent, junk.name)
    assert parse_source(f"untrained:{junk}").gguf == junk.name


def test_a_folder_with_several_files_is_refused(junk):
    """They may be one model in several precisions, and the user has to choose."""
    (junk.parent / "junk.Q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds 2 models \(junk.Q4_1.gguf, junk.Q8_0.gguf\); give one file"):
        parse_source(str(junk.parent))


def test_the_digest_is_that_of_the_file_alone(junk):
    """Other files in the folder make no difference."""
    before = files_digest(parse_source(str(junk)))
    (junk.parent / "notes.txt").write_text("of another model")
    assert files_digest(parse_source(str(junk))) == before
    junk.write_bytes(b"GGUF" + bytes(61))
    assert files_digest(parse_source(str(junk))) != before


def test_missing_packages_are_named(junk, monkeypatch):
    """With the command that installs them."""
    monkeypatch.setattr(gguf, "find_spec", lambda name: None if name == "gguf" else util.find_spec(name))
    with pytest.raises(ModelError, match=r'needs gguf.*; pip install "pytest-unineuron\[gguf\]"'):
        load_model(parse_source(str(junk)))


def test_a_damaged_file_is_an_error_of_one_line(junk, extra):
    with pytest.raises(ModelError, match=r"^model .*junk.Q4_1.gguf: this GGUF file cannot be read: [^\n]+$"):
        load_model(parse_source(str(junk)))


def test_smollm2_is_loaded_in_float32(smollm2):
    """All weights are plain numbers, and the model knows a capital."""
    loaded = load_model(parse_source(str(smollm2)))
    assert loaded.parameters == 134_515_008
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    ids = loaded.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = loaded.model(ids).logits[0, -1].argmax()
    assert loaded.tokenizer.decode([int(best)]) == " Paris"
