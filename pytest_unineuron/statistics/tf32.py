"""Products in TF32 on a GPU, where what that rounds off is less than what chance leaves open.

TF32 keeps 10 explicit bits of each factor's mantissa and sums in float32. Rounding to nearest changes a factor by at
most 2⁻¹¹ of itself, so by Cauchy and Schwarz the product of two units x and y over all tokens changes by at most
‖δx‖‖y‖ + ‖x‖‖δy‖ + ‖δx‖‖δy‖ ≤ (2⁻¹⁰ + 2⁻²²) ‖x‖‖y‖: with values about their means, |Δρ| ≤ 2⁻¹⁰ + 2⁻²², and with
values about a shift near their means as much times the root mean square over the deviation, of both units. In the
worst case, that is, all roundings conspiring; independent ones leave 2⁻¹¹ / √T. A direction of a random basis of m
units mixes the roundings of all of them, in the worst case up to √m times as many.

ρ of two units that have nothing in common has a deviation of 1/√T over T tokens, more where neighbouring tokens are
alike. So up to MAX_TOKENS = 2²⁰ the bound is below the deviation that chance alone gives a ρ: the partner that TF32
chooses is one that another sample of text might have chosen as well. Beyond that, products are taken in float32.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

MANTISSA_BITS = 10
"""Explicit bits of a mantissa in TF32."""
MAX_CHANGE = 2.0**-MANTISSA_BITS + 2.0 ** (-2 * MANTISSA_BITS - 2)
"""The most that ρ of two units can change."""
MAX_TOKENS = 2 ** (2 * MANTISSA_BITS)
"""Tokens up to which that is less than chance."""


def tf32_allowed(tokens: int, device: str, dtype: torch.dtype) -> bool:
    """Whether products over so many tokens may be taken in TF32: on a GPU that has it, never in float64."""
    return device == "cuda" and dtype == torch.float32 and tokens <= MAX_TOKENS


@contextmanager
def tf32_products(*, on: bool = True) -> Iterator[None]:
    """Products of float32 matrices on a GPU are taken in TF32 meanwhile; elsewhere nothing changes."""
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
