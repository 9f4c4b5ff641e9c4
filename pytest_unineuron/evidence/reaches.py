"""Whether a control is at least as extreme as the model in all that is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.evidence.measurement import measurements_by_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_unineuron.evidence.contrast import Contrast
    from pytest_unineuron.evidence.measurement import Measurement, MeasurementKey


def reaches(measurements: Iterable[Measurement], model: Iterable[Measurement], contrasts: Iterable[Contrast]) -> bool:
    """Whether a control measured all that is claimed, and each at least as far on the claimed side as the model.

    ``measurements`` are the control's, ``model`` the model's, and ``contrasts`` those between the two.
    """
    numbered, contrasts = measurements_by_key(measurements), list(contrasts)

    def reached(key: MeasurementKey, m: Measurement) -> bool:
        if m.compared:
            # Of several with one name, all have to.
            found = [c.reaches_control for c in contrasts if c.measurement == m.name]
            return bool(found) and all(found)
        value = numbered[key].value if key in numbered else None
        return value is not None and m.reached_by(value)

    return all(reached(key, m) for key, m in measurements_by_key(model).items() if m.claimed and m.value is not None)
