"""Fixtures of saved models that a test may read or change."""

import shutil

import pytest

from tests.models.checkpoints import byte_tokenizer
from tests.models.tiny import build, tokenizer
from tools.architectures.shrink import Entry, tiny_model


@pytest.fixture(scope="package")
def saved(tmp_path_factory):
    """A function that returns a folder with a tiny random model of an architecture, and the model; both made once."""
    made = {}

    def folder(mapping, architecture):
        if architecture not in made:
            path = tmp_path_factory.mktemp(architecture)
            model = tiny_model(Entry(mapping, architecture))
            model.save_pretrained(path)
            byte_tokenizer().save_pretrained(path)
            made[architecture] = path, model
        return made[architecture]

    return folder


@pytest.fixture
def llama(tiny, tmp_path):
    """A copy of a tiny saved llama that a test may change."""
    return shutil.copytree(tiny("llama"), tmp_path / "llama")


@pytest.fixture
def shards(tmp_path):
    """A tiny llama saved in several files."""
    build("llama").save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    tokenizer().save_pretrained(tmp_path / "shards")
    return tmp_path / "shards"
