"""Loading: a model's folder, its weights from safetensors only, its tokenizer. No remote code, ever."""

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
"""Values that are looked at together, so that what is made on the way stays small."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory.

    ``digest`` is the SHA-256 of its weight files, empty for an untrained model; ``identity`` that of all its files.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str
    folder: Path
    identity: str = ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @cached_property
    def vocabulary(self) -> int:
        """Number of token ids the tokenizer has; columns of the unembedding beyond them are padding."""
        return token_id_count(self.tokenizer)

    @property
    def context(self) -> int:
        """The longest input the model takes, in tokens; UNLIMITED where neither it nor its tokenizer has a limit."""
        return longest_input(self.model, self.tokenizer)


def load_model(
    source: Source, *, dtype: str = "float32", device: str = "cpu", seed: int = 0, digests: Digests | None = None
) -> LoadedModel:
    """The model a source names, in evaluation mode. ``seed`` initialises it if it is to be untrained.

    ``digests`` of files may be known from an earlier run.

    Weights are read tensor by tensor in the precision that is asked for, so that memory holds them once. Raises
    ModelError, in one sentence, for a model that is not there, has no safetensors, has weights that are
    missing or not finite, or is changed meanwhile.
    """
    folder = fetch(source)
    of_files = files_digest(source, digests, folder)
    config = load_configuration(source, folder)
    kinds = model_classes(source, folder, config)
    if source.untrained:
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # what was never trained was never quantised
        model, digest = initialise_model(kinds[0], config, seed), ""
    else:
        files = weight_files(source, folder, config)
        request_plain_weights(source, config)
        model = load_weights(source, folder, config, kinds, dtype=getattr(torch, dtype), device=device)
        digest = weights_digest(files, digests)
    _check_finite(source, model, dtype)
    if not getattr(model, "is_quantized", False):
        model = move_to_device(cast_weights(model, getattr(torch, dtype)), device)
    if dtype == "float64":
        model.set_experts_implementation("eager")  # the others know no float64
    tokenizer = load_tokenizer(source, folder, model)
    if files_digest(source, digests, folder) != of_files:
        raise ModelError(f"model {source.spec}: its files were changed while it was loaded; run this again")
    return LoadedModel(model.eval(), tokenizer, digest, folder, of_files)


def initialise_model(kind: Any, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model of this class and configuration with the library's default initialisation, drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = kind._from_config(copy.deepcopy(config), dtype=torch.float32)
    return model


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in another precision, one tensor at a time.

    What its class asks to keep in float32 stays so, and what is computed rather than stored, such as the
    frequencies of rotary positions, keeps its own precision.
    """
    kept = "|".join(map(str, model._get_dtype_plan(dtype)))
    stored = set(model.state_dict(keep_vars=True))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        asked = tensor.is_floating_point() and tensor.dtype != dtype and name in stored
        if asked and not (kept and re.search(rf"(^|\.)({kept})(\.|$)", name)):
            tensor.data = tensor.data.to(dtype)
    return model


def _check_finite(source: Source, model: PreTrainedModel, dtype: str) -> None:
    for name, parameter in model.named_parameters():
        if not _finite(parameter.detach()):
            reason = "the weights are damaged"
            if dtype == "float16":
                reason += ", or too large for float16: try --unineuron-dtype=bfloat16"
            raise ModelError(f"model {source.spec}: {name} has values that are not finite; {reason}")


def _finite(tensor: Tensor) -> bool:
    """Whether all values are finite, found without a copy; quantised tensors are integers inside."""
    plain = type(tensor) in (torch.Tensor, nn.Parameter)
    if not plain or not tensor.is_floating_point() or tensor.is_meta or not tensor.numel():
        return True
    for part in tensor.flatten().split(FINITE_CHUNK):
        low, high = torch.aminmax(part if part.itemsize > 1 else part.float())  # either is NaN if anything is
        if not bool(low.isfinite() & high.isfinite()):
            return False
    return True
