"""Where things are in a model, remembered: models of one configuration and shape almost always have one anatomy.

Where weights make a difference, as units do that are never on, the checks on load notice, and it is looked for again.
"""

from __future__ import annotations

import hashlib
import json
import types
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from pytest_unineuron.models.discovery.anatomy import Anatomy, dissect
from pytest_unineuron.system.paths import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_unineuron.models.loading.load import LoadedModel

FORMAT = 5
"""Goes up when what is found, or how it is written down, changes."""


def anatomy_key(loaded: LoadedModel, neurons: str = "") -> str:
    """What an anatomy depends on: configuration, class, parameters, libraries, and any pattern for neurons."""
    config = loaded.model.config.to_dict()
    config.pop("_name_or_path", None)
    config.pop("dtype", None)
    versions = [version(name) for name in ("torch", "transformers")]
    shapes = [(name, list(parameter.shape)) for name, parameter in loaded.model.named_parameters()]
    kind = type(loaded.model).__name__
    told = json.dumps([FORMAT, kind, config, shapes, versions, neurons], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


class AnatomyCache:
    """Anatomies by configuration, in this process and, if a ``folder`` is given, on disk."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Anatomy] = {}

    def anatomy(self, loaded: LoadedModel, neurons: str = "", *, fresh: bool = False) -> tuple[Anatomy, bool]:
        """The anatomy of a model, and whether it was remembered. ``fresh`` looks again, whatever is known.

        Raises NeuronsNotFound as ``dissect`` does. What was remembered has to be verified like anything else.
        """
        name = anatomy_key(loaded, neurons)
        if not fresh:
            if name in self._known:
                return self._known[name], True
            if (read := self._read(name)) is not None:
                self._known[name] = read
                return read, True
        found = self._known[name] = dissect(loaded, neurons)
        self._write(name, found)
        return found, False

    def _read(self, name: str) -> Anatomy | None:
        if self._folder is None:
            return None
        try:
            kept: Anatomy = revive(Anatomy, json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # not there, or damaged: it is found again
        return kept

    def _write(self, name: str, anatomy: Anatomy) -> None:
        if self._folder is None:
            return
        with suppress(OSError):  # it is found again by the next run
            write_atomically(self._folder / f"{name}.json", json.dumps(asdict(anatomy)).encode())


def revive(kind: Any, value: Any) -> Any:
    """A frozen dataclass from what ``asdict`` and JSON made of it. Raises TypeError or KeyError for anything else.

    >>> from pytest_unineuron.models.discovery.dataflow import InputNorm
    >>> revive(InputNorm, {"norm": "ln_1", "obstacle": ""}).norm
    'ln_1'
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [option for option in get_args(kind) if option is not type(None)]
        return None if value is None else revive(inner[0], value)
    if origin is tuple:
        return tuple(revive(get_args(kind)[0], item) for item in value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{each.name: revive(hints[each.name], value[each.name]) for each in fields(kind)})
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
