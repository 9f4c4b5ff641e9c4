"""Where a model comes from, read off what the user typed. No torch: names can be checked at collection."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pytest_unineuron import zoo
from pytest_unineuron.errors import ModelError

UNTRAINED = "untrained:"
WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
ADAPTER_FILE = "adapter_config.json"
MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"]
"""What a model is made of: configuration, tokenizer and weights, nothing that can run."""
IGNORED_FILES = ["*/*", "consolidated*.safetensors"]
"""And what it is not: the same weights once more for other programs, in folders of their own or under this name."""
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")


@dataclass(frozen=True)
class Source:
    """One model as it was asked for. Either ``folder`` or ``hub`` is set; ``label`` is its short name.

    ``untrained`` asks for the same configuration with a fresh, seeded initialisation.
    """

    spec: str
    label: str
    folder: Path | None = None
    hub: str = ""
    revision: str | None = None
    untrained: bool = False


def parse_source(spec: str) -> Source:
    """What ``spec`` means. Raises ModelError if it names a nano model or folder that is not there.

    >>> parse("EleutherAI/pythia-70m@step143000").revision
    'step143000'
    """
    if spec.startswith(UNTRAINED):
        inner = parse_source(spec.removeprefix(UNTRAINED))
        return Source(spec, UNTRAINED + inner.label, inner.folder, inner.hub, inner.revision, untrained=True)
    if spec.startswith(zoo.PREFIX):
        name = spec.removeprefix(zoo.PREFIX)
        folders = zoo.folders()
        if name not in folders:
            raise ModelError(f"model {spec}: there is no such nano model; there are {_names(folders)}")
        return Source(spec, name, folder=folders[name])
    try:
        path = Path(spec).expanduser()
        found = path.is_dir()
    except (OSError, RuntimeError) as error:  # no such user, a name too long, a folder that may not be read
        raise ModelError(f"model {spec}: there can be no such folder ({error}); give one with config.json") from None
    if found:
        check_folder(spec, path)
        return Source(spec, path.resolve().name, folder=path)
    if path.is_file():
        raise ModelError(f"model {spec}: this is a file; give the folder that it is in, with config.json beside it")
    if path.exists() or spec.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(spec):
        raise ModelError(f"model {spec}: no such folder; give a folder with config.json, a hub id or nano:NAME")
    hub, _, revision = spec.partition("@")
    return Source(spec, spec, hub=hub, revision=revision or None)


def sources_by_label(specs: tuple[str, ...]) -> dict[str, Source]:
    """The sources by label, in order. Two folders of the same name are told apart by their whole path."""
    sources = [parse_source(spec) for spec in specs]
    taken = [source.label for source in sources]
    unique = {}
    for source in sources:
        label = source.label if taken.count(source.label) == 1 else source.spec
        unique[label] = source
    return unique


def _names(folders: dict[str, Path]) -> str:
    return ", ".join(zoo.PREFIX + name for name in folders) or "none"


def check_folder(spec: str, path: Path) -> None:
    """What can be said about a model's folder without loading it. Raises ModelError if it holds no whole model."""
    if (path / "config.json").is_file():
        return
    if has_adapter(path):
        base = _base_of(path / ADAPTER_FILE)
        raise ModelError(
            f"model {spec}: this is only an adapter ({ADAPTER_FILE}){f' for {base}' if base else ''}; "
            "merge it into its model (peft: merge_and_unload) and save that with save_pretrained"
        )
    if packed := sorted(file.name for file in path.glob("*.gguf")):
        raise ModelError(
            f"model {spec}: its weights are packed for another program ({packed[0]}) and there is no config.json; "
            "name the model that they were made of"
        )
    raise ModelError(f"model {spec}: the folder has no config.json; save the model with save_pretrained")


def has_adapter(path: Path) -> bool:
    """Whether there is an adapter in a folder, alone or beside the model that it changes."""
    return (path / ADAPTER_FILE).is_file()


def _base_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError):
        return ""
