"""Loading: a model's folder, its weights from safetensors only, its tokenizer. No remote code, ever."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub import errors as hub_errors
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.source import ADAPTER, INDEX, WEIGHTS, adapted, check_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pytest_unineuron.models.source import Source

WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"]
"""What is fetched from the hub: configuration, tokenizer and weights, nothing that can run."""
UNWANTED = ["*/*", "consolidated*.safetensors"]
"""And what is not: the same weights once more for other programs, in folders of their own or under this name."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
UNUSED = ("pooler",)
"""Modules behind the last layer that many checkpoints leave out; no measurement reads them."""
UNLIMITED = 10_000_000
"""The context of a model that has no longest input: a state space, or positions that are only relative."""
LIMITS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "max_sequence_length"),
    *("seq_length", "max_target_positions", "max_encoder_position_embeddings", "max_decoder_position_embeddings"),
)
"""What configurations call the longest input, in tokens."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""How safetensors call the precisions that mean what they say, without a scale beside them."""
_SPECIAL = re.compile(r"<.*>|\[.*\]|")
"""What special tokens look like; a tokenizer that has no others was made up without its files."""
TEXT_INPUTS = ("input_ids", "decoder_input_ids", "inputs")
CHUNK = 2**24
"""Values that are looked at together, so that what is made on the way stays small."""


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

    @cached_property
    def vocabulary(self) -> int:
        """Number of token ids the tokenizer has; columns of the unembedding beyond them are padding."""
        return id_count(self.tokenizer)

    @property
    def context(self) -> int:
        """The longest input the model takes, in tokens; UNLIMITED where neither it nor its tokenizer has a limit."""
        limits = [getattr(config, name, None) for config in _text_configs(self.model.config) for name in LIMITS]
        limits.append(getattr(self.tokenizer, "model_max_length", None))
        known = [limit for limit in limits if type(limit) is int and 1 < limit < UNLIMITED]
        return min([*known, *_table_limits(self.model)], default=UNLIMITED)


def load(source: Source, *, dtype: str = "float32", device: str = "cpu", seed: int = 0) -> Loaded:
    """The model a source names, in evaluation mode. ``seed`` initialises it if it is to be untrained.

    Weights are read tensor by tensor in the precision that is asked for, so that memory holds them once. Raises
    ModelError, in one sentence, for a model that is not there, has no safetensors, or has weights that are
    missing or not finite.
    """
    folder = fetch(source)
    config = _configuration(source, folder)
    kinds = _model_classes(source, folder, config)
    if source.untrained:
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # what was never trained was never quantised
        model, digest = initialised(kinds[0], config, seed), ""
    else:
        files = weight_files(source, folder, config)
        _dequantised(source, config)
        model = _weights(source, folder, config, kinds, dtype=getattr(torch, dtype), device=device)
        digest = digest_of(files)
    _check_finite(source, model, dtype)
    if not getattr(model, "is_quantized", False):
        model = cast(model, getattr(torch, dtype)).to(device)
    if dtype == "float64":
        model.set_experts_implementation("eager")  # the others know no float64
    return Loaded(model.eval(), _tokenizer(source, folder, model), digest, folder)


def fetch(source: Source) -> Path:
    """The folder of a source; from the hub's cache or the hub itself where it is not local already.

    Of a model that is only partly in the cache of a machine that is offline, the part: what of it is needed and not
    there is found out when it is read.
    """
    if source.folder is not None:
        return source.folder
    try:
        folder = Path(
            snapshot_download(source.hub, revision=source.revision, allow_patterns=WANTED, ignore_patterns=UNWANTED)
        )
    except hub_errors.LocalEntryNotFoundError as error:
        folder = Path(getattr(error, "snapshot_path", None) or ".")
        if folder == Path():
            raise ModelError(f"model {source.spec}: {_OFFLINE}") from None
    except Exception as error:  # networks and servers fail in their own ways
        raise ModelError(f"model {source.spec}: {_why_not_fetched(source, error)}") from None
    check_folder(source.spec, folder)
    return folder


_OFFLINE = "it is not in the local cache and the hub cannot be reached (offline); fetch it once, or give a folder"


def _why_not_fetched(source: Source, error: Exception) -> str:
    if isinstance(error, hub_errors.GatedRepoError):
        return "access to it is gated; accept its terms on its page and log in with `hf auth login`"
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return f"the hub has no revision {source.revision!r} of it; its page lists those that there are"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return "the hub has no such model, or it is private; check the name or log in with `hf auth login`"
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return _OFFLINE
    return f"the hub could not deliver it: {_first_line(error)}; try again, or give a folder"


def initialised(kind: Any, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model of this class and configuration with the library's default initialisation, drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = kind._from_config(copy.deepcopy(config), dtype=torch.float32)
    return model


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
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


def _configuration(source: Source, folder: Path) -> PretrainedConfig:
    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {source.spec}: its config.json is no JSON: {_first_line(error)}") from error
    if not isinstance(written, dict):
        raise ModelError(f"model {source.spec}: its config.json is no JSON object; save it with save_pretrained")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # any architecture checks its configuration in its own way
        if "auto_map" in written:
            raise _own_code(source, f"model_type {written.get('model_type')!r}") from None
        reason = _first_line(error)
        raise ModelError(f"model {source.spec}: its configuration cannot be used: {reason}") from error
    return config


def _own_code(source: Source, what: str) -> ModelError:
    return ModelError(
        f"model {source.spec}: {what} is not part of transformers {transformers.__version__} and its repository's own "
        "code (auto_map) is never run; name a revision or a conversion that transformers can load by itself"
    )


def _model_classes(source: Source, folder: Path, config: PretrainedConfig) -> list[Any]:
    """The class the checkpoint was saved from, if it is one of transformers' own; else those that might fit it."""
    architectures = config.architectures or []
    for name in [architectures] if isinstance(architectures, str) else architectures:
        named = getattr(transformers, str(name), None)
        if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
            return [_reading_text(source, named)]
        if getattr(config, "auto_map", None) or _modules(folder):
            raise _own_code(source, str(name))
    autos = [transformers.AutoModelForMaskedLM, transformers.AutoModelForCausalLM,
             transformers.AutoModelForImageTextToText, transformers.AutoModel]  # fmt: skip
    if getattr(config, "is_encoder_decoder", False):
        autos.insert(0, transformers.AutoModelForSeq2SeqLM)
    found = [auto._model_mapping[type(config)] for auto in autos if type(config) in auto._model_mapping]
    kinds = [kind[0] if isinstance(kind, tuple) else kind for kind in found]
    if not kinds:
        raise ModelError(
            f"model {source.spec}: transformers has no model for model_type {config.model_type!r}; "
            "write the class it was saved from into config.json as architectures"
        )
    return [_reading_text(source, kind) for kind in kinds]


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("modeling_*.py") if path.is_file()]


def _reading_text(source: Source, kind: Any) -> Any:
    if not any(name in inspect.signature(kind.forward).parameters for name in TEXT_INPUTS):
        raise ModelError(f"model {source.spec}: {kind.__name__} reads no text; name a language model")
    return kind


def weight_files(source: Source, folder: Path, config: PretrainedConfig) -> list[Path]:
    """The safetensors that make up a model, in the order of their names.

    Raises ModelError if there are none, if one that the index names is not there, or if one cannot be read.
    """
    first = folder / (getattr(config, "transformers_weights", None) or WEIGHTS)
    if first.is_file() and first.name.endswith(".safetensors"):
        files = [first]
    else:
        index = first if first.name.endswith(".json") else folder / INDEX
        if not index.is_file():
            raise ModelError(f"model {source.spec}: {_why_no_weights(folder)}")
        files = _indexed(source, index)
    if adapted(folder):
        files.append(_adapter(source, folder))
    plain = not _quantisation(config)
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no dict
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"model {source.spec}: its weights cannot be loaded: {path.name} is damaged or incomplete "
                f"({_first_line(error)}); fetch it again"
            ) from error
        for name, precision in stored.items():
            if plain and name.endswith("weight") and precision not in FLOATS:
                raise ModelError(
                    f"model {source.spec}: {name} is stored as {precision}, and its config.json does not say how to "
                    "read that (no quantization_config); fetch both from the same revision"
                )
    return files


def _why_no_weights(folder: Path) -> str:
    """What is there instead of weights that can be read."""

    def names(*patterns: str) -> str:
        found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
        return ", ".join(found[:3]) + (", …" if len(found) > 3 else "")

    if others := names("*.safetensors"):
        return (
            f"there is neither {WEIGHTS} nor {INDEX}, so it is not known whether {others} are its weights; "
            "fetch it again, or write it with save_pretrained"
        )
    if pickles := names(*PICKLES):
        return (
            f"its weights are pickled ({pickles}), and unpickling can run code; "
            "convert them with save_pretrained, or name a revision that has safetensors (MODEL@REVISION)"
        )
    if packed := names("*.gguf"):
        return f"its weights are packed for another program ({packed}); name the model that they were made of"
    return f"there are no weights (*.safetensors) in {folder}; fetch it again, or write it with save_pretrained"


def _indexed(source: Source, index: Path) -> list[Path]:
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
            f"there ({', '.join(absent[:3])}{', …' if len(absent) > 3 else ''}); fetch it again"
        )
    return files


def _adapter(source: Source, folder: Path) -> Path:
    """The weights of an adapter beside those of the model. Raises ModelError where it would not be loaded safely."""
    path = folder / "adapter_model.safetensors"
    if find_spec("peft") is None:
        raise ModelError(
            f"model {source.spec}: there is an adapter beside its weights ({ADAPTER}), which takes peft; "
            "pip install peft, or remove the file to measure the model without it"
        )
    if not path.is_file():
        raise ModelError(f"model {source.spec}: there is no {path.name} for its {ADAPTER}; merge the adapter into it")
    return path


def _quantisation(config: PretrainedConfig) -> dict[str, Any]:
    """How weights are quantised, as config.json says it; empty if they are not."""
    asked = getattr(config, "quantization_config", None) or getattr(_text_config(config), "quantization_config", None)
    return asked if isinstance(asked, dict) else {}


def _dequantised(source: Source, config: PretrainedConfig) -> None:
    """Ask for plain weights where transformers can make them out of quantised ones; the others stay as they are."""
    asked = _quantisation(config)
    if not asked:
        return
    kind = AUTO_QUANTIZATION_CONFIG_MAPPING.get(_method(asked))
    if kind is None:
        raise ModelError(
            f"model {source.spec}: it is quantised in a way that transformers {transformers.__version__} does not "
            f"know ({_method(asked) or 'no quant_method'}); name a revision or a model that is not quantised"
        )
    if "dequantize" in inspect.signature(kind).parameters:
        asked["dequantize"] = True


def _method(asked: dict[str, Any]) -> str:
    """What transformers calls the way in which weights are quantised."""
    for bits in ("4bit", "8bit"):
        if asked.get(f"load_in_{bits}"):
            return f"bitsandbytes_{bits}"
    return str(asked.get("quant_method") or "")


def _weights(
    source: Source, folder: Path, config: PretrainedConfig, kinds: Sequence[Any], *, dtype: torch.dtype, device: str
) -> PreTrainedModel:
    """The model of the first of these classes that finds all its weights in the files."""
    options: dict[str, Any] = {}
    if device != "cpu" and find_spec("accelerate") is not None:
        options["device_map"] = device  # straight onto it, not by way of the memory of the machine
    missing: list[str] = []
    for kind in kinds:
        try:
            model, info = kind.from_pretrained(
                folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True,
                ignore_mismatched_sizes=True, **options,
            )  # fmt: skip
        except Exception as error:  # whatever a damaged file or a missing library makes the loaders raise
            raise ModelError(f"model {source.spec}: {_why_not(config, kind, error)}") from error
        if wrong := sorted(info["mismatched_keys"]):
            name, found, expected = wrong[0]
            raise ModelError(
                f"model {source.spec}: {len(wrong)} tensors in its files have another shape than its config.json "
                f"says ({name}: {tuple(found)}, not {tuple(expected)}); fetch both from the same revision"
            )
        missing = sorted(key for key in info["missing_keys"] if not any(word in key for word in UNUSED))
        if not missing:
            return model
        del model
    raise ModelError(
        f"model {source.spec}: the weight files lack {len(missing)} tensors ({', '.join(missing[:3])}, …); "
        "what is missing would be random"
    )


def _why_not(config: PretrainedConfig, kind: Any, error: Exception) -> str:
    if kind.config_class is not None and not isinstance(config, kind.config_class):
        return f"{kind.__name__} (architectures) is no class for model_type {config.model_type!r}; correct config.json"
    asked = _quantisation(config)
    if not asked:
        return f"its weights cannot be loaded: {_first_line(error)}"
    return (
        f"it is quantised ({_method(asked)}) and cannot be loaded here: {_first_line(error)}; install what is "
        "missing, or name a revision or a model that is not quantised"
    )


def _tokenizer(source: Source, folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # tokenizers fail in as many ways as there are tokenizers
        if "custom code" in str(error):
            raise _own_code(source, "its tokenizer") from None
        hint = "" if (folder / "tokenizer.json").is_file() else _made_of(folder)
        reason = f"its tokenizer cannot be loaded: {_first_line(error)}{hint}"
        raise ModelError(f"model {source.spec}: {reason}") from error
    tokens, rows = id_count(tokenizer), _embedding_rows(model)
    if sum(not _SPECIAL.fullmatch(token) for token in tokenizer.get_vocab()) < 3:
        raise ModelError(
            f"model {source.spec}: its tokenizer has {tokens} tokens and all of them are special, so its vocabulary "
            "is not there; save the model's own tokenizer beside it with tokenizer.save_pretrained"
        )
    if tokens > rows:
        raise ModelError(
            f"model {source.spec}: its tokenizer has {tokens} tokens, its embedding {rows}; "
            "save the model's own tokenizer beside it with tokenizer.save_pretrained"
        )
    return tokenizer


def _made_of(folder: Path) -> str:
    """What to do about a tokenizer that is not stored as tokenizer.json."""
    stored = sorted(path.name for pattern in ("*.model", "*.spm") for path in folder.glob(pattern))
    if not stored:
        return "; save the model's own tokenizer beside it with tokenizer.save_pretrained"
    return f"; {stored[0]} takes sentencepiece, tiktoken and protobuf: install these, or save it as tokenizer.json"


def id_count(tokenizer: PreTrainedTokenizerBase) -> int:
    """One more than the largest token id; ids that no token has may lie below."""
    known = tokenizer.get_vocab().values() if hasattr(tokenizer, "get_vocab") else ()
    return max(len(tokenizer), 1 + max(known, default=-1))


def _embedding_rows(model: PreTrainedModel) -> int:
    """How many token ids the model can read: the rows of its embedding, or what its configuration says."""
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):  # a model whose embedding transformers does not know
        table = None
    weight = getattr(table, "weight", table)
    if isinstance(weight, torch.Tensor) and weight.dim() == 2:
        return len(weight)
    return int(getattr(_text_config(model.config), "vocab_size", 0) or 0)


def _text_config(config: PretrainedConfig) -> Any:
    """The configuration of the part that reads text; of several the whole."""
    try:
        return config.get_text_config()
    except ValueError:
        return config


def _text_configs(config: PretrainedConfig) -> Iterator[Any]:
    """The configurations of all parts that read text: an encoder and a decoder are given the same."""
    yield config
    yield _text_config(config)
    if getattr(config, "is_encoder_decoder", False) or hasattr(config, "text_encoder"):
        for name in ("encoder", "decoder", "text_encoder"):
            part = getattr(config, name, None)
            if isinstance(part, transformers.PretrainedConfig):
                yield _text_config(part)


def _table_limits(model: PreTrainedModel) -> Iterator[int]:
    """What tables of positions that begin after the one of padding have room for, as RoBERTa's."""
    ahead = 1 if hasattr(model.config, "ngram") else 0  # ProphetNet looks at the position after the last
    for name, module in model.named_modules():
        first, table = getattr(module, "padding_idx", None), getattr(module, "weight", None)
        if "position" in name.rpartition(".")[2] and first is not None and isinstance(table, torch.Tensor):
            yield len(table) - first - 1 - ahead


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
    for part in tensor.flatten().split(CHUNK):
        low, high = torch.aminmax(part if part.itemsize > 1 else part.float())  # either is NaN if anything is
        if not bool(low.isfinite() & high.isfinite()):
            return False
    return True


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 over weight files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = " ".join(line.strip() for line in lines[: 2 if lines[0].rstrip().endswith(":") else 1])
    return text[:300].rstrip(".;: ")
