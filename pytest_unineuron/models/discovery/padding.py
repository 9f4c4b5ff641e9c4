"""Where a layer has more rows than the text has tokens: are the tokens' rows the first of them?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.layout import PADDED, POOLED, NeuronLayer, NeuronLayout
from pytest_unineuron.models.discovery.projection_calls import ProjectionCall, record_projections
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from torch import Tensor


def mark_pooled_layers(model: Any, layout: NeuronLayout, ids: Tensor) -> NeuronLayout:
    """The layout, where rows that were taken for tokens and padding are something else if they do not behave so.

    Of a row of ids [1, position] one is changed: in the first such layer of every stack, the row at its place has to
    move most. Rows in front of the text, as of a learned prompt, and rows of patches fail that.
    """
    first: dict[str, NeuronLayer] = {}
    for site in layout.layers:
        if site.row_kind == PADDED:
            first.setdefault(site.stack, site)
    if not first:
        return layout
    place = ids.shape[1] // 2
    changed = ids.clone()
    changed[0, place] = next(int(other) for other in ids[0] if other != ids[0, place])
    before, after = (_read(model, NeuronLayout(tuple(first.values())), each) for each in (ids, changed))
    wrong = set()
    for stack, site in first.items():
        a, b = before.get(site), after.get(site)
        if a is None or b is None or a.shape != b.shape:
            wrong.add(stack)
            continue
        moved = (a - b).abs().amax(dim=1) / a.abs().amax(dim=1).clamp_min(1e-12)  # [row]
        if int(moved.argmax()) != place:
            wrong.add(stack)
    sites = (
        replace(site, row_kind=POOLED) if site.row_kind == PADDED and site.stack in wrong else site
        for site in layout.layers
    )
    return replace(layout, layers=tuple(sites))


def _read(model: Any, layout: NeuronLayout, ids: Tensor) -> dict[NeuronLayer, Tensor]:
    """What the projections of the sites read, [row, unit]."""
    seen: dict[ProjectionCall, Tensor] = {}
    with record_projections(model, layout, lambda use, x, y, tokens: seen.__setitem__(use, x.clone())):
        run_model(model, ids, torch.ones_like(ids))
    read = {site: seen.get(ProjectionCall(site.down, site.call)) for site in layout.layers}
    return {site: x.reshape(-1, x.shape[-1]).float() for site, x in read.items() if x is not None}
