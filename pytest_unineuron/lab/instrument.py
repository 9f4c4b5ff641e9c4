"""What identifies an instrument in keys of results: its name, its source, and what it is given."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.cache.source_code import extension_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def source_of(instrument: Callable[..., Any], since: float) -> str | None:
    """Return a digest of the source of an instrument, empty for those of this package, whose source is in every key.

    None if more than a file decides what it does: it was made while the program ran, or typed into a notebook, or its
    file was changed after ``since``, in seconds of the epoch, when it may have been loaded already.
    """
    package = __name__.partition(".")[0]
    if instrument.__module__.startswith(f"{package}.") and not instrument.__module__.startswith(f"{package}.evals."):
        return ""
    made = not isinstance(instrument, FunctionType) or instrument.__closure__ or "<" in instrument.__qualname__
    file = None if made else Path(instrument.__code__.co_filename)
    return extension_digest(file) if file and file.is_file() and file.stat().st_mtime <= since else None


def name_of(instrument: Callable[..., Any]) -> str:
    """Return the name of a function; of another thing that can be called, that of its class."""
    return str(getattr(instrument, "__qualname__", type(instrument).__qualname__))


def digest_of(given: Sequence[Any]) -> str | None:
    """Return a digest of what an instrument is given, empty for nothing; None if it is no tensor or plain value."""
    if not all(isinstance(each, torch.Tensor | int | float | str) for each in given):
        return None
    total = hashlib.sha256()
    for each in given:
        if isinstance(each, torch.Tensor):
            total.update(f"{each.dtype} {list(each.shape)} ".encode())
            total.update(each.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        else:
            total.update(f"{type(each).__name__} {each!r} ".encode())
    return total.hexdigest()[:12] if given else ""
