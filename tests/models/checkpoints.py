"""Saved models that tests change before they are loaded."""

import json

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source


def load(spec, **choices):
    """The model of a folder, or of any other name that a user may type."""
    return load_model(parse_source(str(spec)), **choices)


def byte_tokenizer(tokens=200):
    """A tokenizer of single bytes that fits a vocabulary of 203 and has no limit of its own."""
    known = [*sorted(ByteLevel.alphabet())[: tokens - 1], "<unk>"]
    made = Tokenizer(WordLevel({token: number for number, token in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def change_json(path, **changes):
    """Change entries of a JSON file; None removes an entry."""
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}), encoding="utf-8")


def change_weights(folder, change):
    """Let ``change`` edit the tensors of a model's weight file."""
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
