"""Whether neurons add their write vectors to the stream, and logits are the unembedding of the last norm.

Some architectures multiply either by a constant. It changes no cosine, but what a neuron does to a run. Both are tried
on one batch, since a constant may have any name, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.forward import run_model
from pytest_unineuron.models.weights.weight_view import centred
from pytest_unineuron.roles.interventions import changed_units

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

ROUNDING = 0.05
"""What differs by less than this share of its norm differs by the rounding of half precision or quantised weights."""
TOKENS = 16
"""The tokens whose logits are compared: of each there are as many as the vocabulary has entries."""


def require_direct_writes(view: WeightView, batch: Batch, number: int) -> None:
    """Raise NotApplicable unless the neurons of a layer, by its number in the layout, add their write vectors alone.

    All of them are changed at random, by as much as the stream is long where the next norm reads it.
    """
    layer, write = view.anatomy.layout.per_token.layers[number], view.stream_writes[number]
    reason = f"the neurons of layer {layer.number} do not add their write vectors as they are to the stream"
    if write is None or write is not view.layers[number].write:
        raise NotApplicable(reason)
    change = torch.randn(len(write), generator=torch.Generator().manual_seed(0)).to(write)
    if not bool((change @ write).any()):
        return
    before = _next_stream(view, batch, number, torch.zeros_like(change))
    change = change * before.norm(dim=1).mean() / (change @ write).norm()
    moved = _next_stream(view, batch, number, change) - before
    expected = (change @ write).expand_as(moved)
    if not _same(centred(moved) if view.centres(layer) else moved, expected):
        raise NotApplicable(reason)


def require_direct_logits(view: WeightView, batch: Batch) -> None:
    """Raise NotApplicable unless the logits of a model are the product of its unembedding with its last norm."""
    model, linear = view.loaded.model, view.unembedding_weight
    seen: list[Tensor] = []
    norm = model.get_submodule(view.anatomy.final_norm)
    hook = norm.register_forward_hook(lambda module, args, output: seen.append(output))
    try:
        logits = run_model(model, batch.ids, batch.attention_mask, whole=True)[0]
    finally:
        hook.remove()
    rows, columns = batch.text_mask.nonzero()[:TOKENS].T
    expected = seen[-1][rows, columns].to(linear.weight) @ linear.weight.T
    if not _same(logits[rows, columns].to(expected), expected if linear.bias is None else expected + linear.bias):
        name = type(model).__name__
        raise NotApplicable(f"the logits of {name} are not the product of its unembedding with its last norm alone")


def _next_stream(view: WeightView, batch: Batch, number: int, change: Tensor) -> Tensor:
    """The stream that the next norm behind a layer reads, [text token, width], if ``change`` [unit] is added to units.

    Raises NotApplicable for a layer that no norm reads, or none token by token.
    """
    layer = view.anatomy.layout.per_token.layers[number]
    seen: list[Tensor] = []

    def changed(units: Tensor) -> Tensor:
        seen.clear()
        return units + change.to(units)

    norms = [view.loaded.model.get_submodule(path) for path in layer.reading_norms if path]
    hooks = [norm.register_forward_pre_hook(lambda module, args: seen.append(args[0])) for norm in norms]
    try:
        with changed_units(view, {number: changed}):
            run_model(view.loaded.model, batch.ids, batch.attention_mask, whole=True)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or seen[0].shape[:-1].numel() != batch.ids.numel():
        raise NotApplicable(f"no norm reads token by token what the neurons of layer {layer.number} write")
    return seen[0].reshape(*batch.ids.shape, -1)[batch.text_mask.to(seen[0].device)].to(change)


def _same(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same up to rounding."""
    return bool((found - expected).norm() <= ROUNDING * expected.norm())
