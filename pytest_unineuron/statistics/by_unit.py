"""Claims about the units of a model: how they compare with those of a control, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron.statistics.ranks import as_values, auroc
from pytest_unineuron.statistics.resampling import DOCUMENT_GROUPS, Estimate, UnitGroups, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

SMALL, MEDIUM, LARGE = 0.56, 0.64, 0.71
"""Probabilities of superiority that are called a small, a medium and a large effect (Vargha and Delaney 2000)."""


@dataclass(frozen=True)
class LayerEstimate(Estimate):
    """A mean over layers; ``profile`` has (layer, value) of each layer."""

    profile: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class UnitEstimate(LayerEstimate):
    """The mean over layers of the median unit.

    On a control arm, ``contrast`` is the probability that a unit of the model exceeds one of the control.
    """

    by_unit: bool = True
    contrast: LayerEstimate | None = None


@dataclass(frozen=True)
class _Pair:
    """A sample of the model and one of a control, from which the same group is left out together."""

    model: Any
    control: Any

    @property
    def groups(self) -> int:
        return int(min(self.model.groups, self.control.groups))

    @property
    def kind(self) -> str:
        return str(getattr(self.model, "kind", DOCUMENT_GROUPS))

    def without(self, group: int) -> _Pair:
        return _Pair(self.model.without(group), self.control.without(group))


def by_unit(
    values: Callable[..., NDArray[np.float64]],
    *samples: Any,
    layer: Callable[[Any], NDArray[np.int64]] = lambda sample: sample.layer,
) -> UnitEstimate:
    """Return one number of every unit as an estimate that a trial compares with the units of its controls.

    ``values`` computes [unit] from the samples, such as the neurons of a model on a corpus, and ``layer`` the layer of
    each unit, [unit], from the first of them. The comparison is the probability of superiority within layers, where
    layers weigh alike (Vargha and Delaney 2000). Its interval is a jackknife interval over document groups, the same
    groups left out of both arms; samples without documents leave out groups of units. Raises ValueError if ``values``
    returns something else.

    Few units are no more certain than they can be counted: the error is at least the step in which the comparison
    changes, one pair of units of a layer.
    """

    def values_of(*given: Any) -> NDArray[np.float64]:
        return as_values(values(*given))

    if not all(hasattr(sample, "groups") for sample in samples):
        samples, values, layer = (_as_values(values_of, samples, layer),), lambda v: v.values[0], lambda v: v.layer

    def typical(*given: Any) -> dict[int, float]:
        return _medians(values_of(*given), layer(given[0]))

    def of_both(*pairs: _Pair) -> tuple[NDArray[Any], ...]:
        models, controls = [pair.model for pair in pairs], [pair.control for pair in pairs]
        return values_of(*models), layer(models[0]), values_of(*controls), layer(controls[0])

    def compared(*pairs: _Pair) -> dict[int, float]:
        return superiority(*of_both(*pairs))

    own = jackknife(lambda *given: _mean(typical(*given)), *samples)
    contrast = None
    if all(sample.subject is not None for sample in samples):
        pairs = [_Pair(sample.subject, sample) for sample in samples]
        step = _step(*of_both(*pairs))
        estimate = jackknife(lambda *given: _mean(compared(*given)), *pairs, resolution=step, limits=(0, 1))
        contrast = LayerEstimate(**vars(estimate), profile=tuple(compared(*pairs).items()))
    return UnitEstimate(**vars(own), profile=tuple(typical(*samples).items()), contrast=contrast)


def superiority(
    model: NDArray[np.float64],
    model_layer: NDArray[np.int64],
    control: NDArray[np.float64],
    control_layer: NDArray[np.int64],
) -> dict[int, float]:
    """Return, for each layer, the probability that a unit of the model has a larger value than one of the control.

    The values and layers are [unit]; values nan are left out, ties count half. A layer in which either has no value is
    nan. The mean over units is the AUROC of the model's units among those of both.
    """
    found = {}
    for number in np.unique(model_layer):
        own, other = model[model_layer == number], control[control_layer == number]
        found[int(number)] = auroc(np.concatenate([own, other]), np.arange(len(own) + len(other)) < len(own))
    return found


def _step(
    model: NDArray[np.float64],
    model_layer: NDArray[np.int64],
    control: NDArray[np.float64],
    control_layer: NDArray[np.int64],
) -> float:
    """The step in which the mean over layers of ``superiority`` changes: that of one pair of units of a layer."""
    known, other = model_layer[~np.isnan(model)], control_layer[~np.isnan(control)]
    pairs = [np.sum(known == number) * np.sum(other == number) for number in np.unique(known)]
    steps = [1 / count for count in pairs if count]
    return float(np.mean(steps) / len(steps)) if steps else 0.0


class _Values(UnitGroups):
    """One number of each unit, for weights; on a control arm, ``subject`` has those of the model itself."""

    subject: _Values | None = None


def _as_values(values: Callable[..., Any], samples: tuple[Any, ...], layer: Callable[[Any], Any]) -> _Values:
    """The values of samples without documents, with those of the model itself on a control arm."""
    found = _Values(layer(samples[0]), values(*samples))
    subjects = tuple(sample.subject for sample in samples)
    if all(subject is not None for subject in subjects):
        found.subject = _as_values(values, subjects, layer)
    return found


def _medians(values: NDArray[np.float64], layer: NDArray[np.int64]) -> dict[int, float]:
    """The median of the known values in each layer; nan for a layer without any. Raises ValueError for other shapes."""
    shape, units = np.shape(values), len(layer)
    if shape != (units,):
        raise ValueError(f"by_unit: the function returned {list(shape)} numbers for {units} units; return one for each")
    found = {}
    for number in np.unique(layer):
        of_layer = values[layer == number]
        known = of_layer[~np.isnan(of_layer)]
        found[int(number)] = float(np.median(known)) if len(known) else float("nan")
    return found


def _mean(profile: Mapping[int, float]) -> float:
    """The mean over the layers that have a value; nan if none has."""
    known = [value for value in profile.values() if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
