"""What a neuron adds to the attention of a later head to BOS: its part is taken out of that head's queries alone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.weights.heads import require_heads
from pytest_unineuron.roles.attention import attention_patterns, returned_attention
from pytest_unineuron.roles.direct_effects import require_direct_writes
from pytest_unineuron.roles.interventions import Effects, changed_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

QUANTITIES = ("activation", "added", "activation²", "added²", "product")
"""What is summed over tokens, by pair."""


def added_attention(view: WeightView, batches: Sequence[Batch], pairs: Tensor) -> Effects:
    """Return what neurons add to the attention of heads to BOS, over the text tokens of some batches, by pair.

    ``pairs`` [pair, 2] are the number of a neuron and that of a head of a later layer. Added is the attention to the
    first token as it is, less that without the neuron's part in the queries of the head (Gurnee et al. 2024, section
    5.3). ``added`` and ``activation`` are the means of both, with their ``added²``, ``activation²`` and ``product``.
    Raises NotApplicable for a model whose attention probabilities cannot be had, whose queries cannot be changed alone,
    or whose neurons add other vectors to the stream than they write.
    """
    require_heads(view)
    place_of = view.anatomy.layout.per_token.place_of
    for layer in sorted({place_of(neuron)[0] for neuron in pairs[:, 0].tolist()}):
        require_direct_writes(view, batches[0], layer)
    groups = 1 + max(batch.group for batch in batches)
    tokens = torch.zeros(groups, dtype=torch.float64)
    sums = {name: torch.zeros(len(pairs), groups, dtype=torch.float64) for name in QUANTITIES}
    with returned_attention(view, batches[0]):
        for batch in batches:
            text, patterns = batch.text_mask, attention_patterns(view, batch)
            tokens[batch.group] += int(text.sum())
            for number, (neuron, head) in enumerate(pairs.tolist()):
                without, fired = attention_without(view, batch, neuron, head)
                clean = attention_to_first(view, patterns, head)
                x = fired.reshape(clean.shape)[text.to(fired.device)].double().cpu()
                y = (clean - without)[text.to(clean.device)].double().cpu()
                for name, values in zip(QUANTITIES, (x, y, x**2, y**2, x * y), strict=True):
                    sums[name][number, batch.group] += values.sum()
    read = tokens > 0
    return Effects({name: of[:, read] for name, of in sums.items()}, tokens[read])


def correlation(effects: Effects) -> Any:
    """Return the correlation over tokens of what neurons add with their activation, [pair]; nan where one is constant.

    ``effects`` are what ``added_attention`` returns.
    """
    y, yy = effects.mean("added"), effects.mean("added²")
    deviation = np.sqrt(np.maximum(yy - y**2, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation > 0, moved(effects) / deviation, np.nan).clip(-1, 1)


def moved(effects: Effects) -> Any:
    """Return how much more a neuron adds if its activation is a standard deviation larger, [pair].

    It is the slope of a regression over tokens, times that deviation; 0 for a neuron that never varied.
    """
    x, y, xx, _, xy = (effects.mean(name) for name in QUANTITIES)
    deviation = np.sqrt(np.maximum(xx - x**2, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation > 0, (xy - x * y) / deviation, 0.0)


def attention_to_first(view: WeightView, patterns: Sequence[Tensor], head: int) -> Tensor:
    """Return the attention of a head to the first token, [row, position], of the ``patterns`` of all layers."""
    at, numbers = view.anatomy.heads[head], sorted({other.layer for other in view.anatomy.heads})
    return patterns[numbers.index(at.layer)][:, at.index, :, 0]


def attention_without(view: WeightView, batch: Batch, neuron: int, head: int) -> tuple[Tensor, Tensor]:
    """Return the attention of a head to the first token without a neuron, and its activation, [row, position] each.

    The neuron writes nothing into the stream from which the queries of the head are made. ``returned_attention`` has
    to be open.
    """
    layer, unit = view.anatomy.layout.per_token.place_of(neuron)
    at = view.anatomy.heads[head]
    seen: dict[str, Tensor] = {}

    def keep(units: Tensor) -> Tensor:
        seen["fired"] = units[..., unit]
        return units

    def requery(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        fired = seen["fired"].to(seen["stream"]).reshape(*seen["stream"].shape[:-1], 1)
        part = fired * written.to(seen["stream"])
        moved = module.forward(norm.forward(seen["stream"] - part))
        changed = output.clone()
        changed[..., rows] = moved[..., rows]
        return changed

    model, write = view.loaded.model, view.stream_writes[layer]
    norm = model.get_submodule(at.query.input_norm.norm)
    if write is None or not at.query.projection.whole:
        raise NotApplicable("the queries of this model's heads cannot be changed alone")
    written, rows = write[unit], list(at.query.rows)
    with ExitStack() as stack:
        stack.enter_context(changed_units(view, {layer: keep}))
        hook = norm.register_forward_pre_hook(lambda module, args: seen.update(stream=args[0]))
        stack.callback(hook.remove)
        stack.callback(model.get_submodule(at.query.projection.module).register_forward_hook(requery).remove)
        patterns = attention_patterns(view, batch)
    return attention_to_first(view, patterns, head), seen["fired"]
