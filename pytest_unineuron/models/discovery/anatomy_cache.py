"""A cache of anatomies, in memory and on disk: models of one configuration almost always have the same anatomy.

Where the weights make a difference, as with units that are never on, the checks of a loaded model fail, and the caller
asks for a fresh anatomy.
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

FORMAT = 6
"""The version of stored anatomies: to be raised when their content or their form changes."""


def anatomy_key(loaded: LoadedModel, neurons: str = "") -> str:
    """A digest of everything that an anatomy depends on.

    That is the configuration, class and parameters of the model, the libraries, and a pattern for ``neurons``.
    """
    config = loaded.model.config.to_dict()
    config.pop("_name_or_path", None)
    config.pop("dtype", None)
    versions = [version(name) for name in ("torch", "transformers")]
    shapes = [(name, list(parameter.shape)) for name, parameter in loaded.model.named_parameters()]
    content = [FORMAT, type(loaded.model).__name__, config, shapes, versions, neurons]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


class AnatomyCache:
    """Anatomies by key, in this process and, if a ``folder`` is given, in files."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Anatomy] = {}

    def get_or_dissect(self, loaded: LoadedModel, neurons: str = "", *, fresh: bool = False) -> tuple[Anatomy, bool]:
        """The anatomy of a model, and whether it came from the cache, which ``fresh`` forbids.

        Raises NeuronsNotFound and ModelError as ``dissect`` does. A cached anatomy has to be verified too.
        """
        key = anatomy_key(loaded, neurons)
        known = None if fresh else self._known.get(key) or self._read(key)
        self._known[key] = known or dissect(loaded, neurons)
        if known is None:
            self._write(key, self._known[key])
        return self._known[key], known is not None

    def _read(self, key: str) -> Anatomy | None:
        if self._folder is None:
            return None
        try:
            stored = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            anatomy: Anatomy = revive(Anatomy, stored)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # a file that is missing or damaged is written again
        return anatomy

    def _write(self, key: str, anatomy: Anatomy) -> None:
        if self._folder is None:
            return
        with suppress(OSError):  # without the file, the next run dissects the model again
            write_atomically(self._folder / f"{key}.json", json.dumps(asdict(anatomy)).encode())


def revive(kind: Any, value: Any) -> Any:
    """The frozen dataclass that ``asdict`` and JSON turned into ``value``. Raises TypeError or KeyError for others.

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
