"""Computes how many models fit into memory at once from the headers of their files. Imports no torch."""

from __future__ import annotations

import json
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.errors import UnineuronError
from pytest_unineuron.models.loading.shape import BYTES_PER_WEIGHT
from pytest_unineuron.models.loading.source import WEIGHTS_FILE, parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.system.machine import GIB, free_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings

PROCESS_BYTES = 2**29
"""Memory of a process that has imported torch and transformers, before any model."""
PACKED_WEIGHTS = {"I32": 8, "U8": 2}
"""The most weights that a number of each type holds in a quantised format: those of four bits."""
MIN_WEIGHTS_OF_NEURON = 128
"""The fewest weights of a neuron: input and output weights of a residual stream of width 64."""


def processes_that_fit(models: Iterable[Source], settings: Settings) -> int:
    """Return how many processes can hold a model each at the same time, the largest models; at least one."""
    sizes = sorted((process_bytes(source, settings) for source in models), reverse=True)
    free = free_memory()
    return max(1, len(sizes) if free is None else sum(total <= free for total in accumulate(sizes)))


def process_bytes(source: Source, settings: Settings) -> int:
    """Return the bytes of a process that measures a model: the model, a control, its seeds and their comparison.

    Models that were not fetched yet count as empty, since their size is not known.
    """
    try:
        seeds = [parse_source(spec) for spec in seeds_compared_with(source, settings.seed)]
    except UnineuronError:
        seeds = []
    own = weight_count(source)
    models = (2 * own + sum(map(weight_count, seeds))) * BYTES_PER_WEIGHT[settings.dtype]
    neurons = own // MIN_WEIGHTS_OF_NEURON
    comparison = 4 * len(seeds) * neurons * (neurons + settings.correlation_tokens)
    return PROCESS_BYTES + models + min(comparison, settings.memory * GIB)


def weight_count(source: Source) -> int:
    """Return the number of weights of a model, 0 if its files were not fetched yet."""
    folder = source.folder or _hub_folder(source)
    if folder is None:
        return 0
    whole = folder / WEIGHTS_FILE
    files = [whole] if whole.is_file() else folder.glob("[!c]*.safetensors")  # consolidated* are copies of the others
    return sum(map(_weights_in, files))


def _weights_in(file: Path) -> int:
    """The number of weights in a safetensors file, from its header, whose size is in the first eight bytes."""
    try:
        with file.open("rb") as opened:
            table = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        tensors = [tensor for name, tensor in table.items() if name != "__metadata__"]
        return sum(prod(tensor["shape"]) * PACKED_WEIGHTS.get(tensor["dtype"], 1) for tensor in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return 0  # loading the model reports the error


def _hub_folder(source: Source) -> Path | None:
    """The folder of a model of the hub, or None if it was not fetched yet."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.hub, "config.json", revision=source.revision)
    return Path(found).parent if isinstance(found, str) else None
