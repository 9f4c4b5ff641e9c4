"""Loading: a model's folder, its weights from safetensors only, its tokenizer. No remote code, ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub import errors as hub_errors
from huggingface_hub import snapshot_download

from pytest_unineuron.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pytest_unineuron.models.source import Source

WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What is fetched from the hub: configuration, tokenizer and weights, nothing that can run."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
UNUSED = ("pooler",)
"""Modules behind the last layer that many checkpoints leave out; no measurement reads them."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model in memory. ``digest`` is the SHA-256 of its weight files, empty for an untrained model."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str
    folder: Path

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def vocabulary(self) -> int:
        """Number of tokens the tokenizer knows; columns of the unembedding beyond it are padding."""
        return len(self.tokenizer)

    @property
    def context(self) -> int:
        """The longest input the model takes, in tokens."""
        config = self.model.config.get_text_config()
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        limits.append(getattr(self.tokenizer, "model_max_length", None))
        known = [int(limit) for limit in limits if isinstance(limit, int) and 1 < limit < 10_000_000]
        return min(known, default=512)


def load(source: Source, *, dtype: str = "float32", device: str = "cpu", seed: int = 0) -> Loaded:
    """The model a source names, in evaluation mode. ``seed`` initialises it if it is to be untrained.

    Raises ModelError, in one sentence, for a model that is not there, has no safetensors, or has weights
    that are missing or not finite.
    """
    folder = fetch(source)
    config = _configuration(source, folder)
    if source.untrained:
        model, digest = initialised(_model_class(config), config, seed), ""
    else:
        model, digest = _weights(source, folder, config), digest_of(folder)
    _check_finite(source, model)
    model = model.to(device=device, dtype=getattr(torch, dtype)).eval()
    return Loaded(model, _tokenizer(source, folder, model), digest, folder)


def fetch(source: Source) -> Path:
    """The folder of a source; from the hub's cache or the hub itself where it is not local already."""
    if source.folder is not None:
        return source.folder
    try:
        return Path(snapshot_download(source.hub, revision=source.revision, allow_patterns=WANTED))
    except hub_errors.GatedRepoError:
        reason = "access to it is gated; accept its terms on its page and log in with `hf auth login`"
    except hub_errors.RevisionNotFoundError:
        reason = f"the hub has no revision {source.revision!r} of it"
    except hub_errors.RepositoryNotFoundError:
        reason = "the hub has no such model, or it is private; check the name or log in with `hf auth login`"
    except (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled):
        reason = "it is not in the local cache and the hub cannot be reached (offline); fetch it once, or give a folder"
    except (OSError, ValueError, hub_errors.HfHubHTTPError) as error:
        reason = f"the hub could not deliver it: {_first_line(error)}"
    raise ModelError(f"model {source.spec}: {reason}")


def initialised(kind: Any, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model of this class and configuration with the library's default initialisation, drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = kind._from_config(config)
    return model


def _configuration(source: Source, folder: Path) -> PretrainedConfig:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model {source.spec}: its configuration cannot be used: {_first_line(error)}") from error
    return config


def _model_class(config: PretrainedConfig) -> Any:
    """The class the checkpoint was saved from, if it is one of transformers' own; else the bare model."""
    named = getattr(transformers, (config.architectures or [""])[0] or "AutoModel", None)
    if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
        return named
    return transformers.AutoModel._model_mapping[type(config)]


def _weights(source: Source, folder: Path, config: PretrainedConfig) -> PreTrainedModel:
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"model {source.spec}: its weights are pickled ({', '.join(pickles)}), and unpickling can run code; "
                "convert them with save_pretrained, or name a revision that has safetensors (MODEL@REVISION)"
            )
        raise ModelError(f"model {source.spec}: there are no weights (*.safetensors) in {folder}")
    try:
        model, info = _model_class(config).from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever a damaged file makes the loaders raise
        raise ModelError(f"model {source.spec}: its weights cannot be loaded: {_first_line(error)}") from error
    missing = sorted(key for key in info["missing_keys"] if not any(word in key for word in UNUSED))
    if missing:
        raise ModelError(
            f"model {source.spec}: the weight files lack {len(missing)} tensors ({', '.join(missing[:3])}, …); "
            "what is missing would be random"
        )
    return model


def _tokenizer(source: Source, folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # tokenizers fail in as many ways as there are tokenizers
        raise ModelError(f"model {source.spec}: its tokenizer cannot be loaded: {_first_line(error)}") from error
    rows = model.get_input_embeddings().weight.shape[0]
    if not 2 < len(tokenizer) <= rows:
        raise ModelError(
            f"model {source.spec}: its tokenizer has {len(tokenizer)} tokens, its embedding {rows}; "
            "save the model's own tokenizer beside it with tokenizer.save_pretrained"
        )
    return tokenizer


def _check_finite(source: Source, model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(f"model {source.spec}: {name} has values that are not finite; the weights are damaged")


def digest_of(folder: Path) -> str:
    """SHA-256 over the weight files of a folder, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
