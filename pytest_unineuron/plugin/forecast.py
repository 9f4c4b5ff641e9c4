"""What a run can decide and what takes long in it, said before it begins: criteria, seeds, passes, downloads."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

from pytest_unineuron.corpora import number_words, public_texts
from pytest_unineuron.errors import ModelError, NotApplicable, OptionError
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import JudgedTrial, Support, deciding_trials
from pytest_unineuron.lab.arm import RUN_TOKENS, RUNS
from pytest_unineuron.models.loading.shape import model_shape
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options.settings import CPU_POSITIONS, DEFAULT_CONTEXT
from pytest_unineuron.plugin.assignment import assignment_of, model_of
from pytest_unineuron.system.machine import GIB, format_gib
from pytest_unineuron.universality.estimate import CostEstimate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import pytest

    from pytest_unineuron.lab.arm import Request
    from pytest_unineuron.models.loading.shape import ModelShape
    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.options.settings import Settings
    from pytest_unineuron.plugin.run import Run

SHOWN_TRIALS = 3
"""The most trials that are named one by one."""
PROBE_SIZE = 768
"""Rows and columns of the matrices whose product tells how fast this machine is."""


def forecast(
    run: Run, items: Iterable[pytest.Item], requests: Iterable[Request], collected: Iterable[pytest.Item]
) -> Iterator[str]:
    """Yield what can be decided, how long it takes, each comparison of seeds, and each model to be fetched.

    Of all items that were ``collected``, ``items`` will run.
    """
    items, requests = list(items), list(requests)
    yield from _decisions(run, items, collected)
    yield from _duration(run, requests)
    models = dict.fromkeys(model for model in map(model_of, items) if model)
    needed = {run.models[label].spec: run.models[label] for label in models}
    comparisons = [request for request in requests if request.compares_seeds]
    for label in dict.fromkeys(request.arm.model for request in comparisons):
        try:
            seeds = seeds_compared_with(run.models[label], run.settings.seed)
        except NotApplicable:
            continue
        arms = {(each.arm, each.corpus) for each in comparisons if each.arm.model == label and not each.role}
        texts = {corpus for _, corpus in arms}  # all arms share the passes of the seeds over a text
        if arms:
            yield (
                f"{label} is compared with {', '.join(seeds)}: {len(arms) + len(seeds) * len(texts)} forward passes "
                f"over at most {run.settings.tokens} tokens, within {run.settings.memory} GiB"
                f"{_blocks(run.models[label], len(seeds), run.settings)}"
            )
        needed |= {spec: parse_source(spec) for spec in seeds}
    for source in needed.values():
        if source.hub and (size := _download_size(source)):
            yield f"to be fetched: {source.spec}, {size}"


def _decisions(run: Run, items: Iterable[pytest.Item], collected: Iterable[pytest.Item]) -> Iterator[str]:
    """Yield the trials that decide each criterion, together for all models with the same ones.

    A trial that will not run decides too: without it, its criterion is undecided.
    """
    trials: dict[tuple[str, str], dict[str, JudgedTrial]] = {}
    for assignment in filter(None, map(assignment_of, collected)):
        trial, applies = assignment.trial, not assignment.skip
        judged = JudgedTrial(Outcome.NOT_RUN, trial.primary, trial.direct, applies)
        trials.setdefault((assignment.case.model, trial.criterion), {})[trial.id] = judged
    running: dict[str, dict[str, set[str]]] = {}
    for assignment in filter(None, map(assignment_of, items)):
        if not assignment.case.control:
            asked = running.setdefault(assignment.case.model, {})
            asked.setdefault(assignment.trial.criterion, set()).add(assignment.trial.id)
    models: dict[tuple[str, ...], list[str]] = {}
    for model, asked in running.items():
        lines = [
            f"  {criterion} {_deciding(run.settings.policy, trials[model, criterion], chosen)}"
            for criterion, chosen in sorted(asked.items())
        ]
        models.setdefault(tuple(lines), []).append(model)
    for decisions, names in models.items():
        yield from (f"{', '.join(names)}:", *decisions)


def _deciding(policy: str, trials: Mapping[str, JudgedTrial], running: Collection[str]) -> str:
    """The trials that decide a criterion, in words: ``by heavy_tailed_neurons (signature)``. Some are not running."""
    deciding = deciding_trials(trials.values(), policy)
    names = [name for name, trial in trials.items() if any(trial is each for each in deciding)]
    if not names:
        return "cannot be decided: no trial applies"
    support = Support.DIRECT if any(trial.direct for trial in deciding) else Support.SIGNATURE
    shown = ", ".join(names) if len(names) <= SHOWN_TRIALS else f"{len(names)} trials"
    missing = len(set(names) - set(running))
    left_out = f"; {missing} of {len(names)} not selected, so it will be undecided" if missing else ""
    return f"by {shown} ({support}){left_out}"


def _duration(run: Run, requests: Iterable[Request]) -> Iterator[str]:
    """Yield about how long it takes on a processor to measure everything, as far as the shapes of models are known."""
    settings, operations = run.settings, 0
    if settings.device not in ("auto", "cpu"):
        return
    for request in {(r.arm, r.corpus, r.compares_seeds, r.role): r for r in requests}.values():
        source = run.models[request.arm.model]
        try:
            if request.compares_seeds and not request.role:
                operations += _estimate(source, len(seeds_compared_with(source, settings.seed)), settings).operations[
                    "all"
                ]
            else:
                tokens = min(settings.tokens, RUN_TOKENS) * RUNS if request.role else settings.tokens
                if request.corpus == number_words.NAME:
                    tokens = number_words.sentences_within(tokens) * number_words.TOKENS_OF_PAIR
                if request.corpus == public_texts.NAME:
                    tokens = public_texts.TOKENS
                operations += tokens * _shape(source).forward(settings.context or DEFAULT_CONTEXT)
        except (ModelError, NotApplicable, OptionError):
            continue
    if operations:
        minutes = operations / _operations_per_second() / 60
        yield f"about {max(1, round(minutes))} min on this processor, less for what is in the cache"


def _operations_per_second() -> float:
    """The speed at which this machine multiplies matrices of float32, measured in a moment."""
    import numpy as np

    matrix = np.ones((PROBE_SIZE, PROBE_SIZE), dtype=np.float32)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * PROBE_SIZE**3 / min(seconds)


def _estimate(source: Source, seeds: int, settings: Settings) -> CostEstimate:
    """The cost of comparing one arm of a model with its seeds on one text. Raises ModelError, as ``model_shape``."""
    return CostEstimate(
        _shape(source),
        seeds,
        settings.tokens,
        min(settings.tokens, settings.correlation_tokens),
        context=settings.context or DEFAULT_CONTEXT,
        memory=settings.memory * GIB,
        positions=settings.batch or CPU_POSITIONS,
        dtype=settings.dtype,
    )


@cache
def _shape(source: Source) -> ModelShape:
    """The shape of a model, read once: a GGUF file takes seconds. Raises ModelError."""
    return model_shape(source, fetch=False)


def _blocks(source: Source, seeds: int, settings: Settings) -> str:
    """The number of blocks of products, if there are several; empty if the configuration is not here or incomplete."""
    try:
        estimate = _estimate(source, seeds, settings)
    except ModelError:
        return ""
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
