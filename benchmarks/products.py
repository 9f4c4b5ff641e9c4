"""What products of float32 matrices cost by the library that torch takes on a CPU, and by the one that we take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from benchmarks.answer import Answer
from benchmarks.timing import interleaved, timed
from pytest_unineuron.statistics import gemm

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.work import Shape

TITLE = "Products of float32 matrices, by torch and by us"
COLUMNS = ("what", "ms, torch", "ms, here", "× faster", "GFLOP/s here")
SHORT = 64
"""Tokens of a short text."""


def answer(shape: Shape, turns: int) -> Answer:
    """Measure it."""
    rows = []
    for name, size, (plain, ours) in _pairs(shape):
        times = max(1, int(2e10 / size))
        pair = {"torch": _repeated(plain, times), "ours": _repeated(ours, times)}
        with torch.inference_mode():
            found = interleaved(pair, turns, pair.values())
        each = {who: spread.times(1000 / times) for who, spread in found.items()}
        rate = size / each["ours"].median / 1e6
        rows.append((name, each["torch"], each["ours"], found["torch"].over(found["ours"]), rate))
    by = gemm.product_library()
    return Answer("products", TITLE, COLUMNS, tuple(rows), f"{shape}. Here they are made by {by}.")


def _pairs(shape: Shape) -> list[tuple[str, float, tuple[Callable[[], object], Callable[[], object]]]]:
    """What is multiplied, its operations, and the two ways."""
    units, tokens = shape.all_units, shape.tokens
    x, y = (torch.rand(units, tokens).T for _ in range(2))
    sums = torch.zeros(units, units)
    found: list[tuple[str, float, tuple[Callable[[], object], Callable[[], object]]]] = [
        (
            f"co-moments of {units} × {units} neurons over {tokens} tokens",
            2 * units**2 * tokens,
            (lambda: sums.addmm_(x.T, y), lambda: gemm.add_product(sums, x, y)),
        ),
    ]
    weight = torch.rand(shape.units, shape.width)
    for count in (tokens, SHORT):
        read = torch.rand(count, shape.width)
        found.append(
            (
                f"a layer of {shape.units} neurons that reads {shape.width} features of {count} tokens",
                2 * shape.units * shape.width * count,
                _linear(read, weight),
            )
        )
    return found


def _linear(read: torch.Tensor, weight: torch.Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    return lambda: functional.linear(read, weight), lambda: gemm.product(read, weight)


def _repeated(once: Callable[[], object], times: int) -> Callable[[], float]:
    @timed
    def all_of_them() -> None:
        for _ in range(times):
            once()

    return all_of_them
