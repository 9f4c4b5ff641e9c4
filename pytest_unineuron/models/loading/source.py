"""The source of a model, as a user types it. Imports no torch, so that names can be checked at collection."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_unineuron import zoo
from pytest_unineuron.errors import ModelError, did_you_mean, first_line
from pytest_unineuron.system.paths import cached_hub_id, did_you_mean_path, status_of, typed

UNTRAINED = "untrained:"
WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
ADAPTER_FILE = "adapter_config.json"
GGUF_SUFFIX = ".gguf"
_GGUF_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""The end of the name, without the suffix, of one of several files that hold one model."""
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.codes", "*.tokenizer"]
"""The files of a model: configuration, tokenizer and weights, but no code."""
IGNORED_FILES = ["*/*", "consolidated*.safetensors"]
"""The files that repeat the weights for other programs, in folders of their own or under this name."""
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


@dataclass(frozen=True)
class Source:
    """One model as a user typed it (``spec``), with a short ``label``. Either ``folder`` or ``hub`` is set.

    ``untrained`` asks for a fresh, seeded initialisation of its configuration. ``gguf`` is the name of the file in
    ``folder`` that holds configuration, tokenizer and weights, of a model in that format.
    """

    spec: str
    label: str
    folder: Path | None = None
    hub: str = ""
    revision: str | None = None
    untrained: bool = False
    gguf: str = ""

    @property
    def name(self) -> str:
        """The hub id, also of a snapshot in the cache of the hub or a link to one; else what was typed."""
        folder = self.folder
        cached = (cached_hub_id(folder) or cached_hub_id(folder.resolve())) if folder else ""
        return self.hub or cached or self.spec.removeprefix(UNTRAINED)


def parse_source(spec: str) -> Source:
    """The source that ``spec`` names. Raises ModelError for a nano model or folder that does not exist.

    Raises OptionError for a nano model if ``UNINEURON_ZOO`` names no folder of models.

    >>> parse_source("EleutherAI/pythia-70m@step143000").revision
    'step143000'
    """
    if spec.startswith(UNTRAINED):
        name = spec.removeprefix(UNTRAINED)
        if not name.strip():
            raise ModelError(f"model {spec}: name a model after the colon, such as {UNTRAINED}{zoo.PREFIX}neox-a")
        inner = parse_source(name)
        return replace(inner, spec=spec, label=UNTRAINED + inner.label, untrained=True)
    if spec.startswith(zoo.PREFIX):
        zoo.check()
        name = spec.removeprefix(zoo.PREFIX)
        folders = zoo.folders()
        if name not in folders:
            names = [zoo.PREFIX + each for each in folders]
            near, known = did_you_mean(spec, names), ", ".join(names) or "none"
            raise ModelError(f"model {spec}: there is no such nano model; there are {known}{near}")
        return Source(spec, name, folder=folders[name])
    try:
        path = Path(spec).expanduser()
        found = status_of(path)
    except (OSError, RuntimeError) as error:  # no such user, a name too long, a folder that may not be read
        raise ModelError(
            f"model {spec}: a folder cannot have this name ({error}); give a folder with config.json"
        ) from None
    if found and stat.S_ISDIR(found.st_mode):
        gguf = _gguf_in(spec, path)
        if not gguf:
            check_folder(spec, path)
        return Source(spec, cached_hub_id(path) or typed(path).name, folder=path, gguf=gguf)
    if path.is_file() and path.suffix.lower() == GGUF_SUFFIX:
        _check_whole(spec, path)
        return Source(spec, path.stem, folder=path.parent, gguf=path.name)
    if path.is_file():
        raise ModelError(f"model {spec}: this is a file; give the folder that it is in, or a {GGUF_SUFFIX} file")
    if path.exists() or spec.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(spec):
        near = did_you_mean_path(path)
        raise ModelError(f"model {spec}: no such folder; give a folder with config.json, a hub id or nano:NAME{near}")
    if spec in zoo.folders():
        raise ModelError(f"model {spec}: no such folder; did you mean {zoo.PREFIX}{spec}?")
    hub, _, revision = spec.partition("@")
    return Source(spec, spec, hub=hub, revision=revision or None)


def sources_by_label(specs: tuple[str, ...]) -> dict[str, Source]:
    """The sources by label, in order. Folders of the same name are labelled by their whole path."""
    sources = [parse_source(spec) for spec in specs]
    taken = [source.label for source in sources]
    unique = {}
    for source in sources:
        label = source.label if taken.count(source.label) == 1 else source.spec
        unique[label] = source
    return unique


def check_folder(spec: str, path: Path) -> None:
    """Raise ModelError if a folder holds no whole model, as far as its file names tell."""
    if (path / "config.json").is_file():
        return
    if has_adapter(path):
        base = _base_of(path / ADAPTER_FILE)
        raise ModelError(
            f"model {spec}: this is only an adapter ({ADAPTER_FILE}){f' for {base}' if base else ''}; "
            "merge it into its model (peft: merge_and_unload) and save that with save_pretrained"
        )
    if snapshots := sorted(path.glob("snapshots/*/config.json")):
        newest = max(snapshots, key=lambda file: file.stat().st_mtime).parent
        raise ModelError(f"model {spec}: this is a folder of the cache of the hub; give its snapshot {newest}")
    raise ModelError(f"model {spec}: the folder has no config.json; save the model with save_pretrained")


def check_contents(source: Source) -> None:
    """Raise ModelError for a folder that is no model: its configuration is no JSON object, or it holds no weights."""
    folder = source.folder
    if folder is None or source.gguf:
        return
    read_configuration(source, folder)
    if not source.untrained and not any(folder.glob("*.safetensors*")):
        raise ModelError(f"model {source.spec}: {reason_no_weights(folder)}")


def read_configuration(source: Source, folder: Path) -> dict[str, Any]:
    """The object in the config.json of a folder. Raises ModelError if there is none."""
    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {source.spec}: its config.json is not valid JSON: {first_line(error)}") from error
    if not isinstance(written, dict):
        raise ModelError(f"model {source.spec}: its config.json is not a JSON object; save it with save_pretrained")
    return written


def reason_no_weights(folder: Path) -> str:
    """A message about the files in a folder that are no weights that can be read."""

    def names(*patterns: str) -> str:
        found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
        return ", ".join(found[:3]) + (", …" if len(found) > 3 else "")

    if others := names("*.safetensors"):
        return (
            f"there is neither {WEIGHTS_FILE} nor {INDEX_FILE}, so it is not known whether {others} are its weights; "
            "fetch it again, or write it with save_pretrained"
        )
    if pickles := names(*PICKLE_PATTERNS):
        return (
            f"its weights are pickled ({pickles}), and unpickling can run code; "
            "convert them with save_pretrained, or name a revision that has safetensors (MODEL@REVISION)"
        )
    if packed := names("*.gguf"):
        return f"its weights are in another format ({packed}); give that file itself as the model"
    return f"there are no weights (*.safetensors) in {folder}; fetch it again, or write it with save_pretrained"


def _gguf_in(spec: str, path: Path) -> str:
    """The name of the only GGUF file in a folder without config.json that is not hidden; empty if there is none.

    Raises ModelError if there are several, which are often the same model in several precisions, or a part of one.
    """
    if (path / "config.json").is_file():
        return ""
    found = sorted(file for file in path.glob("[!.]*") if file.suffix.lower() == GGUF_SUFFIX)
    for file in found:
        _check_whole(spec, file)
    files = [file.name for file in found]
    if len(files) > 1:
        raise ModelError(f"model {spec}: the folder holds {len(files)} models ({', '.join(files[:3])}); give one file")
    return "".join(files)


def _check_whole(spec: str, file: Path) -> None:
    """Raise ModelError for a GGUF file that is one part of a model."""
    if _GGUF_PART.search(file.stem):
        whole = _GGUF_PART.sub("", file.stem) + GGUF_SUFFIX
        raise ModelError(
            f"model {spec}: {file.name} is one part of a model, which is not read; join its parts: gguf-split --merge "
            f"FIRST_PART {whole}"
        )


def has_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter, with or without the model that it changes."""
    return (path / ADAPTER_FILE).is_file()


def _base_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError):
        return ""
