"""Lists what takes long in a run before it begins: models to fetch, seeds to compare, forward passes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_unineuron.errors import ModelError, NotApplicable, OptionError
from pytest_unineuron.models.loading.shape import model_shape
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options.settings import CPU_POSITIONS, DEFAULT_CONTEXT
from pytest_unineuron.plugin.collection import model_of
from pytest_unineuron.system.machine import GIB, format_gib
from pytest_unineuron.universality.estimate import CostEstimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings
    from pytest_unineuron.plugin.run import Run


def forecast(run: Run, items: Iterable[pytest.Item], requests: Iterable[Request]) -> Iterator[str]:
    """Yield one line for each comparison of seeds and one for each model that has to be fetched."""
    models = dict.fromkeys(model for model in map(model_of, items) if model)
    needed = {run.models[label].spec: run.models[label] for label in models}
    comparisons = [request for request in requests if request.compares_seeds]
    for label in dict.fromkeys(request.arm.model for request in comparisons):
        try:
            seeds = seeds_compared_with(run.models[label], run.settings.seed)
        except NotApplicable:
            continue
        arms = {(request.arm, request.corpus) for request in comparisons if request.arm.model == label}
        texts = {corpus for _, corpus in arms}  # all arms share the passes of the seeds over a text
        yield (
            f"{label} is compared with {', '.join(seeds)}: {len(arms) + len(seeds) * len(texts)} forward passes over "
            f"at most {run.settings.tokens} tokens, within {run.settings.memory} GiB"
            f"{_blocks(run.models[label], len(seeds), run.settings)}"
        )
        needed |= {spec: parse_source(spec) for spec in seeds}
    for source in needed.values():
        if source.hub and (size := _download_size(source)):
            yield f"to be fetched: {source.spec}, {size}"


def _blocks(source: Source, seeds: int, settings: Settings) -> str:
    """The number of blocks of products, if there are several; empty if the configuration is not here or incomplete."""
    try:
        shape = model_shape(source, fetch=False)
    except ModelError:
        return ""
    compared = min(settings.tokens, settings.correlation_tokens)
    estimate = CostEstimate(
        shape,
        seeds,
        settings.tokens,
        compared,
        context=settings.context or DEFAULT_CONTEXT,
        memory=settings.memory * GIB,
        positions=settings.batch or CPU_POSITIONS,
        dtype=settings.dtype,
    )
    try:
        number = len(estimate.blocks)
    except OptionError:
        return f", but needs at least {format_gib(estimate.cost.least_bytes + sum(estimate.kept_bytes))}"
    return f" in {number} blocks" if number > 1 else ""


def _download_size(source: Source) -> str:
    """The size of a model of the hub, in words; empty if it was fetched before."""
    import huggingface_hub
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(source.hub, "config.json", revision=source.revision), str | os.PathLike):
        return ""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return "but the hub is switched off (HF_HUB_OFFLINE)"
    try:
        files = HfApi().model_info(source.hub, revision=source.revision, files_metadata=True).siblings or []
    except Exception as error:  # loading the model reports the error
        return f"size unknown ({type(error).__name__})"
    return f"{sum(f.size or 0 for f in files if f.rfilename.endswith('.safetensors')) / 1e9:.2f} GB"
