"""How time grows with tokens and with neurons: no faster than the work does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks import correlation, work
from benchmarks.answer import Answer, Cell
from benchmarks.sweep import swept
from benchmarks.timing import interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE = "Growth"
COLUMNS = ("what", "times as much", "seconds", "per token or pair, against × 1", "beyond the passes")
TOKENS = (1, 4, 16)
NEURONS = (1, 2, 4)
BATCHES = 2
"""Of the correlations."""


def answer(shape: work.Shape, turns: int) -> Answer:
    """Measure it."""
    member = work.member(work.model(shape, 0), shape)
    texts = {times: work.text(work.ids(shape, times)) for times in TOKENS}
    variants: dict[str, Callable[[], float]] = {
        f"tokens {times}": partial(timed(swept), member, text, shape, None) for times, text in texts.items()
    }
    warm: list[Callable[[], float]] = [variants["tokens 1"]]
    for times in NEURONS:
        smaller = replace(shape, neurons=shape.units * times // max(NEURONS))
        pair = [work.member(work.model(smaller, seed), smaller) for seed in range(2)]
        given = work.text(work.ids(smaller, BATCHES)).batches(smaller.tokens)
        variants[f"passes {times}"] = partial(correlation.forwards, pair, given)
        variants[f"pairs {times}"] = partial(correlation.pair, pair, given)
        warm.append(partial(correlation.pair, pair, given[:1]))
    with torch.inference_mode():
        found = interleaved(variants, turns, warm)
    rows: list[tuple[Cell, ...]] = []
    for times in TOKENS:
        seconds = found[f"tokens {times}"]
        per_token = seconds.over(found["tokens 1"]).times(1 / times)
        rows.append((f"a sweep of {times * shape.tokens} tokens", times, seconds, per_token, None))
    beyond = {times: found[f"pairs {times}"].less(found[f"passes {times}"]) for times in NEURONS}
    for times in NEURONS:
        seconds, units = found[f"pairs {times}"], shape.all_units * times // max(NEURONS)
        per_pair = seconds.over(found["pairs 1"]).times(1 / times**2)
        product = beyond[times].over(beyond[1]).times(1 / times**2)
        rows.append((f"all sums of {units} × {units} neurons", times**2, seconds, per_pair, product))
    note = (
        f"{shape}; for the correlations {BATCHES} of them, with fewer neurons in a layer. 1 is linear, less is "
        "better: passes are a smaller part of more pairs, so the last column leaves them out."
    )
    return Answer("growth", TITLE, COLUMNS, tuple(rows), note)
