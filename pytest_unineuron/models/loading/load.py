"""Loading a model: its folder, its weights from safetensors alone, its tokenizer, and never any code."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading.classes import model_classes
from pytest_unineuron.models.loading.configuration import load_configuration
from pytest_unineuron.models.loading.context import longest_input
from pytest_unineuron.models.loading.devices import move_to_device
from pytest_unineuron.models.loading.fetch import fetch
from pytest_unineuron.models.loading.files_digest import files_digest
from pytest_unineuron.models.loading.gguf import read_once
from pytest_unineuron.models.loading.quantisation import request_plain_weights
from pytest_unineuron.models.loading.tokenizer import load_tokenizer, token_id_count
from pytest_unineuron.models.loading.weight_files import weight_files, weights_digest
from pytest_unineuron.models.loading.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pytest_unineuron.cache.digests import Digests
    from pytest_unineuron.models.loading.source import Source

FINITE_CHUNK = 2**24
"""The number of values that are checked at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory.

    ``weights_digest`` is the SHA-256 of its weight files, empty for an untrained model; ``files_digest`` is that of all
    its files.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    weights_digest: str
    folder: Path
    files_digest: str = ""

    @cached_property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @cached_property
    def vocabulary(self) -> int:
        """The number of token ids of the tokenizer; columns of the unembedding beyond it are padding."""
        return token_id_count(self.tokenizer)

    @property
    def context(self) -> int:
        """The longest input that the model takes, in tokens; UNLIMITED if there is no limit."""
        return longest_input(self.model, self.tokenizer)


@read_once()
def load_model(
    source: Source, *, dtype: str = "float32", device: str = "cpu", seed: int = 0, digests: Digests | None = None
) -> LoadedModel:
    """The model of a source, in evaluation mode; an untrained one is initialised from ``seed``.

    Weights are read tensor by tensor in the precision ``dtype``, so that memory holds them once. ``digests`` may know
    those of some files. Raises ModelError for a model that is not there, has no safetensors, has weights that are
    missing or not finite, or has files that change while it is loaded.
    """
    folder = fetch(source)
    of_files = files_digest(source, digests, folder)
    config = load_configuration(source, folder)
    classes = model_classes(source, folder, config)
    if source.untrained:
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # a fresh initialisation is not quantised
        model, of_weights = initialise_model(classes[0], config, seed), ""
    else:
        files = weight_files(source, folder, config)
        request_plain_weights(source, config)
        model = load_weights(source, folder, config, classes, dtype=getattr(torch, dtype), device=device)
        of_weights = weights_digest(files, digests)
    _check_finite_weights(source, model, dtype)
    if not getattr(model, "is_quantized", False):
        model = move_to_device(cast_weights(model, getattr(torch, dtype)), device)
    if dtype == "float64":
        model.set_experts_implementation("eager")  # other kernels do not support float64
    tokenizer = load_tokenizer(source, folder, model)
    if files_digest(source, digests, folder) != of_files:
        raise ModelError(f"model {source.spec}: its files were changed while it was loaded; run this again")
    return LoadedModel(model.eval(), tokenizer, of_weights, folder, of_files)


def initialise_model(kind: Any, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model of the class ``kind`` with the library's default initialisation, drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = kind._from_config(copy.deepcopy(config), dtype=torch.float32)
    return model


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in another precision, changed in place one tensor at a time.

    Weights that the class declares as float32 keep that precision, as do values that are computed rather than stored,
    such as the frequencies of rotary positions.
    """
    exceptions = "|".join(map(str, model._get_dtype_plan(dtype)))
    stored = set(model.state_dict(keep_vars=True))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        other = tensor.is_floating_point() and tensor.dtype != dtype and name in stored
        if other and not (exceptions and re.search(rf"(^|\.)({exceptions})(\.|$)", name)):
            tensor.data = tensor.data.to(dtype)
    return model


def _check_finite_weights(source: Source, model: PreTrainedModel, dtype: str) -> None:
    for name, parameter in model.named_parameters():
        if not _is_finite(parameter.detach()):
            reason = "the weights are damaged"
            if dtype == "float16":
                reason += ", or too large for float16: try --unineuron-dtype=bfloat16"
            raise ModelError(f"model {source.spec}: {name} has values that are not finite; {reason}")


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite, found without a copy; quantised tensors, which hold integers, always are."""
    plain = type(tensor) in (torch.Tensor, nn.Parameter)
    if not plain or not tensor.is_floating_point() or tensor.is_meta or not tensor.numel():
        return True
    for part in tensor.flatten().split(FINITE_CHUNK):
        low, high = torch.aminmax(part if part.itemsize > 1 else part.float())  # both are NaN if any value is
        if not bool(low.isfinite() & high.isfinite()):
            return False
    return True
