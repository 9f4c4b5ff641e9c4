"""How many models fit into memory at once, read off their files before anything is loaded. No torch."""

from __future__ import annotations

import json
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.models.loading.shape import BYTES_PER_WEIGHT
from pytest_unineuron.models.loading.source import WEIGHTS_FILE, parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.system.machine import free_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

PROCESS = 2**29
"""Bytes of a process that has imported torch and transformers, before any model."""
PACKED = {"I32": 8, "U8": 2}
"""Weights in one stored number, where a quantised format packs them: at four bits, the least in use."""
WEIGHTS_OF_A_NEURON = 128
"""At least: in and out of a stream of 64. From this, how many neurons a model can have."""


def fit(models: Iterable[Source], settings: Settings) -> int:
    """How many processes can hold a model each, the largest models together; at least one."""
    needs = sorted((needed(source, settings) for source in models), reverse=True)
    room = free_memory()
    return max(1, len(needs) if room is None else sum(total <= room for total in accumulate(needs)))


def needed(source: Source, settings: Settings) -> int:
    """Bytes for a process that measures a model: the model, a control made of it, its seeds and their comparison.

    What is not on this machine yet counts for nothing: its size is not known.
    """
    try:
        seeds = [parse_source(spec) for spec in seeds_compared_with(source, settings.seed)]
    except (NotApplicable, UnineuronError):
        seeds = []
    own = weights(source)
    held = (2 * own + sum(map(weights, seeds))) * BYTES_PER_WEIGHT[settings.dtype]
    neurons = own // WEIGHTS_OF_A_NEURON
    pairs = 4 * len(seeds) * neurons * (neurons + settings.correlation_tokens)
    return PROCESS + held + min(pairs, settings.memory * 2**30)


def weights(source: Source) -> int:
    """How many weights a model has, as far as its files are here."""
    folder = source.folder or _cached(source)
    if folder is None:
        return 0
    whole = folder / WEIGHTS_FILE
    files = [whole] if whole.is_file() else folder.glob("[!c]*.safetensors")  # consolidated*: the same once more
    return sum(map(_weights_in, files))


def _weights_in(file: Path) -> int:
    """How many weights a file of safetensors holds: its first eight bytes say how long its table of contents is."""
    try:
        with file.open("rb") as opened:
            table = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        tensors = [tensor for name, tensor in table.items() if name != "__metadata__"]
        return sum(prod(tensor["shape"]) * PACKED.get(tensor["dtype"], 1) for tensor in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return 0  # loading it says what is wrong


def _cached(source: Source) -> Path | None:
    """The folder of a model of the hub, if it was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.hub, "config.json", revision=source.revision)
    return Path(found).parent if isinstance(found, str) else None
