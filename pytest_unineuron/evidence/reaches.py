"""Whether a control is at least as extreme as the model in all that is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_unineuron.evidence.contrast import Contrast
    from pytest_unineuron.evidence.measurement import Measurement


def reaches(measurements: Iterable[Measurement], claimed: Sequence[Measurement], contrasts: Iterable[Contrast]) -> bool:
    """Whether a control measured all that is claimed, and each at least as far on the claimed side as the model.

    ``measurements`` are the control's, ``claimed`` the model's, and ``contrasts`` those between the two.
    """
    values = {m.name: m.value for m in measurements}
    contrasted = {c.measurement: c for c in contrasts}

    def reached(m: Measurement) -> bool:
        if m.compared:
            return m.name in contrasted and contrasted[m.name].reaches_control
        value = values.get(m.name)
        return value is not None and m.reached_by(value)

    return all(map(reached, claimed))
