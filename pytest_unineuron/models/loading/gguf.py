"""Models in one GGUF file, whose weights are dequantised when they are read."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import transformers

from pytest_unineuron.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PretrainedConfig

    from pytest_unineuron.models.loading.source import Source

PACKAGES = ("gguf", "accelerate")
"""The packages that transformers needs to read the format."""


def gguf_configuration(source: Source, folder: Path) -> PretrainedConfig:
    """The configuration in a GGUF file. Raises ModelError if it cannot be read, or if a package is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing or not hasattr(transformers, "GgufConfig"):
        needed = " and ".join(missing) or f"a later transformers than {transformers.__version__}"
        raise ModelError(f'model {source.spec}: needs {needed}; pip install "pytest-unineuron[gguf]"')
    try:
        return copy.deepcopy(_configuration(folder, source.gguf, (folder / source.gguf).stat().st_mtime_ns))
    except Exception as error:  # damaged files and unknown architectures raise errors of any class
        raise ModelError(f"model {source.spec}: this GGUF file cannot be read: {first_line(error)}") from error


@lru_cache(maxsize=1)
def _configuration(folder: Path, file: str, changed: int) -> PretrainedConfig:
    """The configuration in a file that was ``changed`` then; reading the tokens that come with it takes seconds."""
    found: PretrainedConfig = transformers.AutoConfig.from_pretrained(folder, gguf_file=file)
    return found


@contextmanager
def read_once() -> Iterator[None]:
    """While open, a GGUF file is parsed once, and the names of the tensors of an architecture are made once.

    transformers parses a file for the weights and twice for the tokenizer, and makes the names for every module of the
    model: together half of the time that loading takes.
    """
    if find_spec("gguf") is None:
        yield
        return
    gguf = import_module("gguf")
    made = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in made.items():
        setattr(gguf, name, lru_cache(function))
    try:
        yield
    finally:
        for name, function in made.items():
            setattr(gguf, name, function)


def gguf_arguments(source: Source, *, weights: bool = False) -> dict[str, Any]:
    """The arguments of ``from_pretrained`` for a model in a GGUF file; empty for any other."""
    if not source.gguf:
        return {}
    dequantised = {"quantization_config": transformers.GgufConfig(dequantize=True)} if weights else {}
    return {"gguf_file": source.gguf, **dequantised}
