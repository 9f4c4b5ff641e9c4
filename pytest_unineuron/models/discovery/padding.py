"""Whether the extra rows of a layer that has more rows than the text has tokens are padding behind the text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.layout import PADDED, POOLED, NeuronLayer, NeuronLayout, ProjectionCall
from pytest_unineuron.models.discovery.projection_calls import record_projections
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from torch import Tensor


def mark_pooled_layers(model: Any, layout: NeuronLayout, ids: Tensor) -> NeuronLayout:
    """The layout in which layers with padding are marked as POOLED if their first rows are not the tokens.

    One token of ``ids`` [1, position] is changed; in the first such layer of every stack, the row at its position has
    to move most. That is not so where rows stand in front of the text, such as a learned prompt, or are patches.
    """
    first: dict[str, NeuronLayer] = {}
    for layer in layout.layers:
        if layer.row_kind == PADDED:
            first.setdefault(layer.stack, layer)
    if not first:
        return layout
    position = ids.shape[1] // 2
    changed = ids.clone()
    changed[0, position] = next(int(other) for other in ids[0] if other != ids[0, position])
    before, after = (_units(model, NeuronLayout(tuple(first.values())), each) for each in (ids, changed))
    pooled = {stack for stack, layer in first.items() if _most_moved(before.get(layer), after.get(layer)) != position}
    layers = (
        replace(layer, row_kind=POOLED) if layer.row_kind == PADDED and layer.stack in pooled else layer
        for layer in layout.layers
    )
    return replace(layout, layers=tuple(layers))


def _most_moved(before: Tensor | None, after: Tensor | None) -> int:
    """The row of two tensors [row, unit] that differs most, relative to its size; -1 if they cannot be compared."""
    if before is None or after is None or before.shape != after.shape:
        return -1
    moved = (before - after).abs().amax(dim=1) / before.abs().amax(dim=1).clamp_min(1e-12)  # [row]
    return int(moved.argmax())


def _units(model: Any, layout: NeuronLayout, ids: Tensor) -> dict[NeuronLayer, Tensor]:
    """The units of every layer that ran, [row, unit]."""
    seen: dict[ProjectionCall, Tensor] = {}
    with record_projections(model, layout, lambda call, x, y, tokens: seen.__setitem__(call, x.clone())):
        run_model(model, ids, torch.ones_like(ids))
    units = {layer: seen.get(ProjectionCall(layer.down, layer.call)) for layer in layout.layers}
    return {layer: x.reshape(-1, x.shape[-1]).float() for layer, x in units.items() if x is not None}
