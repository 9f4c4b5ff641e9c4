"""The rounding error of TF32, emulated on the CPU, is within the stated bound."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_unineuron.statistics.tf32 import MANTISSA_BITS, MAX_CHANGE, MAX_TOKENS, tf32_allowed, tf32_products

floats = st.floats(-100, 100, width=32).map(lambda x: 0.0 if abs(x) < 1e-20 else x)
units = st.integers(2, 60).flatmap(lambda tokens: arrays.arrays(np.float32, (tokens, 2), elements=floats))


def rounded(values):
    """Float32 values rounded to the nearest of 10 bits of mantissa, ties to even, as in TF32."""
    bits = values.float().contiguous().view(torch.int32)
    drop = 23 - MANTISSA_BITS
    up = (1 << (drop - 1)) - 1 + ((bits >> drop) & 1)
    return ((bits + up) & ~((1 << drop) - 1)).view(torch.float32)


@given(units)
def test_the_bound_holds(case):
    """The product of any two units changes by at most 2⁻¹⁰ + 2⁻²² of their norms."""
    x = torch.as_tensor(case)
    near = rounded(x).double()
    x = x.double()
    error = (near[:, 0] @ near[:, 1] - x[:, 0] @ x[:, 1]).abs()
    assert error <= MAX_CHANGE * x[:, 0].norm() * x[:, 1].norm() * (1 + 1e-12)


def test_the_bound_is_nearly_reached():
    """Values half way between two values of TF32 reach 99 % of it, so a smaller bound would be wrong."""
    x = torch.full((10,), 1 + 2.0**-11 - 2.0**-23)
    error = 1 - (rounded(x) @ rounded(x)) / (x @ x)
    assert 0.99 * MAX_CHANGE < error < MAX_CHANGE


def test_tf32_is_allowed_up_to_a_million_tokens_on_a_gpu():
    """There 1/√T is about as large as the bound. TF32 is not used beyond it, in float64, or elsewhere."""
    assert pytest.approx(MAX_CHANGE, rel=1e-3) == MAX_TOKENS**-0.5
    assert tf32_allowed(MAX_TOKENS, "cuda", torch.float32)
    assert not tf32_allowed(MAX_TOKENS + 1, "cuda", torch.float32)
    assert not tf32_allowed(10, "cuda", torch.float64)
    assert not tf32_allowed(10, "cpu", torch.float32)


def test_the_switch_of_torch_is_restored():
    """It is restored after an error too, and not changed if TF32 is off."""
    switch = torch.backends.cuda.matmul
    if not hasattr(switch, "fp32_precision"):
        pytest.skip("this torch has the older switch only")
    before, older = switch.fp32_precision, switch.allow_tf32

    def breaks(on):
        with tf32_products(on=on):
            assert switch.fp32_precision == ("tf32" if on else before)
            raise RuntimeError("broken")

    for on in (True, False):
        with pytest.raises(RuntimeError, match="broken"):
            breaks(on)
        assert (switch.fp32_precision, switch.allow_tf32) == (before, older)
