"""Models of the hub: errors in one sentence each, partly cached models, and the files that are downloaded."""

from types import SimpleNamespace

import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading import fetch
from tests.models.checkpoints import load

ANSWER = SimpleNamespace(headers={}, request=None, status_code=401)


def test_a_model_that_is_not_cached_is_an_error_offline():
    """Without a network, the error says that the hub cannot be reached."""
    with pytest.raises(ModelError, match="model nobody/nothing: it is not in the local cache and the hub cannot be"):
        load("nobody/nothing")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError("no", response=ANSWER), "access to it is gated; .* log in with `hf auth login`"),
        (errors.RepositoryNotFoundError("no", response=ANSWER), "no such model, or it is private; .*hf auth login"),
        (errors.RevisionNotFoundError("no", response=ANSWER), "the hub has no revision 'v9' of it"),
        (errors.HfHubHTTPError("500 at the hub\nmore", response=ANSWER), "could not deliver it: 500 at the hub; "),
        (errors.LocalEntryNotFoundError("no"), r"not in the local cache and the hub cannot be reached \(offline\)"),
        (errors.OfflineModeIsEnabled("no"), r"not in the local cache and the hub cannot be reached \(offline\)"),
        (errors.HFValidationError("bad name"), "could not deliver it: bad name"),
        (OSError("disk full"), "could not deliver it: disk full; try again, or give a folder"),
        (RuntimeError("no route"), "could not deliver it: no route; try again, or give a folder"),
    ],
)
def test_an_error_of_the_hub_becomes_one_sentence(monkeypatch, error, words):
    """The sentence says what to do; the hub was asked for the revision in the name of the model."""

    def refuse(name, *, revision, **_):
        assert (name, revision) == ("org/model", "v9")
        raise error

    monkeypatch.setattr(fetch, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=f"^model org/model@v9: .*{words}"):
        load("org/model@v9")


def test_a_partly_cached_model_is_used_if_no_needed_file_is_missing(monkeypatch, shards):
    """A needed file that is missing is named."""

    def partly(*_, **__):
        error = errors.LocalEntryNotFoundError("incomplete")
        error.snapshot_path = str(shards)
        raise error

    monkeypatch.setattr(fetch, "snapshot_download", partly)
    assert load("org/model").weights_digest
    next(shards.glob("*00003*")).unlink()
    with pytest.raises(ModelError, match=r"not there \(model-00003-of-00006.safetensors\)"):
        load("org/model")


def test_a_repository_without_a_model_is_an_error(monkeypatch, tmp_path):
    """The error is that of a local folder without a model."""
    monkeypatch.setattr(fetch, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match=r"model org/model: the folder has no config\.json"):
        load("org/model")


def test_only_needed_files_are_downloaded():
    """Weights are downloaded once, and files that can run are not."""
    files = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "tokenizer.json",
        "merges.txt",
        "spm.model",
        "source.spm",
        "chat_template.jinja",
        "modeling_x.py",
        "pytorch_model.bin",
        "m.gguf",
        "consolidated.safetensors",
        "original/model.safetensors",
        "onnx/config.json",
    ]
    kept = filter_repo_objects(files, allow_patterns=fetch.MODEL_FILES, ignore_patterns=fetch.IGNORED_FILES)
    assert list(kept) == files[:7]
