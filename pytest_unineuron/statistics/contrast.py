"""How units that were singled out differ from the rest of their layer, with an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.statistics.ranks import within
from pytest_unineuron.statistics.resampling import Estimate, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


def contrast(values: Callable[[Any], NDArray[np.float64]], positive: NDArray[np.bool_], units: Any) -> Estimate:
    """The AUROC within layers of ``values(units)``, singled out against the rest, with a jackknife interval.

    ``units`` is a Sample with a ``layer``, such as the neurons of a model on a corpus; ``values`` makes [unit] of it
    or of it without a group, and ``positive`` [unit] stays as it is (paper, Figure 3).
    """
    return jackknife(lambda sample: within(values(sample), positive, sample.layer), units)
