"""Products in TF32 on a GPU, where its rounding error is smaller than the sampling error.

TF32 keeps 10 explicit bits of the mantissa of each factor and sums in float32. Rounding to nearest changes a factor by
a relative 2⁻¹¹ at most. By Cauchy and Schwarz the product of two units x and y over all tokens then changes by at most
‖δx‖‖y‖ + ‖x‖‖δy‖ + ‖δx‖‖δy‖ ≤ (2⁻¹⁰ + 2⁻²²) ‖x‖‖y‖. For values about their means this means |Δρ| ≤ 2⁻¹⁰ + 2⁻²²; for
values about a shift the bound is larger by the ratio of root mean square to standard deviation of both units. It is
reached only if all rounding errors add up; independent ones leave 2⁻¹¹ / √T over T tokens. A direction of a random
basis of m units mixes the rounding errors of all of them, in the worst case up to √m times as much.

The ρ of two independent units over T tokens has a standard deviation of 1/√T, more if neighbouring tokens are alike. Up
to MAX_TOKENS = 2²⁰ the bound is below it: another sample of text could have changed ρ, and with it the partner that is
chosen, as much. For more tokens, products are taken in float32.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

MANTISSA_BITS = 10
"""Explicit bits of the mantissa in TF32."""
MAX_CHANGE = 2.0**-MANTISSA_BITS + 2.0 ** (-2 * MANTISSA_BITS - 2)
"""The largest change of the ρ of two units."""
MAX_TOKENS = 2 ** (2 * MANTISSA_BITS)
"""The number of tokens over which the standard deviation of a ρ by chance is about ``MAX_CHANGE``."""


def tf32_allowed(tokens: int, device: str, dtype: torch.dtype) -> bool:
    """Return whether products over so many tokens may be taken in TF32: on a GPU, and never in float64."""
    return device == "cuda" and dtype == torch.float32 and tokens <= MAX_TOKENS


@contextmanager
def tf32_products(*, on: bool = True) -> Iterator[None]:
    """Take products of float32 matrices on a GPU in TF32 meanwhile, if ``on``; nothing changes elsewhere."""
    if not on:
        yield
        return
    switch = torch.backends.cuda.matmul
    name, fast = ("fp32_precision", "tf32") if hasattr(switch, "fp32_precision") else ("allow_tf32", True)
    before = getattr(switch, name)
    setattr(switch, name, fast)
    try:
        yield
    finally:
        setattr(switch, name, before)
