"""The files that hold a model's weights: safetensors, whole or in shards, and their digest."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.errors import ModelError, first_line
from pytest_unineuron.models.loading.quantisation import quantisation_settings
from pytest_unineuron.models.loading.source import (
    ADAPTER_FILE,
    INDEX_FILE,
    WEIGHTS_FILE,
    has_adapter,
    reason_no_weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PretrainedConfig

    from pytest_unineuron.models.loading.source import Source

ADAPTER_WEIGHTS = "adapter_model.safetensors"
SHARDS = "model-*-of-*.safetensors"
"""The names of the files of a model that is saved in several."""
PLAIN_DTYPES = ("F64", "F32", "F16", "BF16")
"""The precisions in safetensors, by their names there, whose values need no scale."""


def weight_files(source: Source, folder: Path, config: PretrainedConfig) -> list[Path]:
    """The safetensors files of a model, in the order of their names, or its GGUF file.

    Raises ModelError if there are none, if one that the index names is missing, if there are shards that nothing names,
    or if one cannot be read.
    """
    if source.gguf:
        return [folder / source.gguf]
    whole = folder / (getattr(config, "transformers_weights", None) or WEIGHTS_FILE)
    if whole.is_file() and whole.name.endswith(".safetensors"):
        files = [whole]
    else:
        index = whole if whole.name.endswith(".json") else folder / INDEX_FILE
        if not index.is_file():
            raise ModelError(f"model {source.spec}: {reason_no_weights(folder)}")
        files = _shards(source, index)
    _check_no_stray_shards(source, folder, files)
    if has_adapter(folder) or (folder / ADAPTER_WEIGHTS).is_file():
        files.append(_adapter_weights(source, folder))
    for path in files:
        _check_file(source, path, quantised=bool(quantisation_settings(config)))
    return files


def _check_file(source: Source, path: Path, *, quantised: bool) -> None:
    """Raise ModelError for a file that is damaged, or that holds integers although the model is not quantised."""
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"model {source.spec}: its weights cannot be loaded: {path.name} is damaged or incomplete "
            f"({first_line(error)}); fetch it again"
        ) from error
    for name, dtype in stored.items():
        if not quantised and name.endswith("weight") and dtype not in PLAIN_DTYPES:
            raise ModelError(
                f"model {source.spec}: {name} is stored as {dtype}, and its config.json does not say how to "
                "read that (no quantization_config); fetch both from the same revision"
            )


def _shards(source: Source, index: Path) -> list[Path]:
    """The files that an index names. Raises ModelError if it cannot be read, or if a file is missing."""
    try:
        named = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [index.parent / name for name in named]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"model {source.spec}: {index.name} does not say which file holds which weights; fetch it again"
        ) from error
    absent = [path.name for path in files if not path.is_file()]
    if absent or not files:
        raise ModelError(
            f"model {source.spec}: {len(absent)} of the {len(files)} weight files that {index.name} names are not "
            f"there ({_some(absent)}); fetch it again"
        )
    return files


def _check_no_stray_shards(source: Source, folder: Path, files: Sequence[Path]) -> None:
    """Raise ModelError for shards that are not read: of another save, or of another model.

    An index beside the whole model names shards that hold it a second time; those are allowed.
    """
    stray, read = sorted(path.name for path in {*folder.glob(SHARDS)} - {*files}), [path.name for path in files]
    repeated = not files[0].match(SHARDS) and (folder / INDEX_FILE).is_file()
    if stray and not repeated:
        raise ModelError(
            f"model {source.spec}: its folder also holds {len(stray)} weight files that would be ignored "
            f"({_some(stray)}; read: {_some(read)}); remove those that are not of this model, or fetch it again"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _adapter_weights(source: Source, folder: Path) -> Path:
    """The weight file of an adapter in a model's folder. Raises ModelError if it would not be loaded safely."""
    path = folder / ADAPTER_WEIGHTS
    if not has_adapter(folder):
        raise ModelError(
            f"model {source.spec}: its folder also holds {ADAPTER_WEIGHTS}, which is ignored without {ADAPTER_FILE}; "
            "merge the adapter into the model, or remove the file to measure the model without it"
        )
    if find_spec("peft") is None:
        raise ModelError(
            f"model {source.spec}: its folder also holds an adapter ({ADAPTER_FILE}), which needs peft; "
            "pip install peft, or remove the file to measure the model without it"
        )
    if not path.is_file():
        raise ModelError(
            f"model {source.spec}: there is no {path.name} for its {ADAPTER_FILE}; merge the adapter into it"
        )
    return path


def weights_digest(files: Sequence[Path], digests: Digests | None = None) -> str:
    """SHA-256 over weight files, in the order of their names; ``digests`` may know those of some files."""
    digests = digests or Digests()
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(digests.of(path))
    return total.hexdigest()
