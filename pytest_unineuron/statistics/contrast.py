"""How selected units differ from the rest of their layer, with an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.statistics.ranks import within
from pytest_unineuron.statistics.resampling import Estimate, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


def contrast(values: Callable[[Any], NDArray[np.float64]], positive: NDArray[np.bool_], units: Any) -> Estimate:
    """Return the AUROC within layers of the selected units against the rest, with a jackknife interval.

    ``units`` is a Sample with a ``layer`` [unit], such as the neurons of a model on a corpus. ``values`` computes
    [unit] from it, whether whole or without a group; ``positive`` [unit] marks the selected units (Gurnee et al. 2024,
    figure 3).
    """
    return jackknife(lambda sample: within(values(sample), positive, sample.layer), units, limits=(0, 1))
