"""Hypothesis strategies that several tests share."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

finite = st.floats(-100, 100, allow_nan=False, width=32)


def batches(min_tokens=1, max_tokens=40, max_units=5):
    """Activations [token, unit] in float32, small enough to be exact in float64."""
    shapes = st.tuples(st.integers(min_tokens, max_tokens), st.integers(1, max_units))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=finite))


@st.composite
def cut_batches(draw, **kwargs):
    """A batch, and the rows at which it is cut into several."""
    batch = draw(batches(min_tokens=2, **kwargs))
    cuts = draw(st.lists(st.integers(1, len(batch) - 1), unique=True, max_size=4).map(sorted))
    return batch, cuts
