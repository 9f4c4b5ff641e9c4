"""What a neuron adds to the attention of a later head to BOS: its part is taken out of that head's queries alone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.roles.attention import attention_patterns, returned_attention
from pytest_unineuron.roles.interventions import changed_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView


def added_attention(view: WeightView, batches: Sequence[Batch], pairs: Tensor) -> Tensor:
    """Return what neurons add to the attention of heads to BOS, [2, pair] float64, over all text tokens.

    ``pairs`` [pair, 2] are the number of a neuron and that of a head of a later layer. The first row is the mean of the
    attention to the first token as it is, less that without the neuron's part in the queries of the head (Gurnee et al.
    2024, section 5.3); the second its correlation with the activation of the neuron. Raises NotApplicable for a model
    whose attention probabilities cannot be had, or whose queries cannot be changed alone.
    """
    found = []
    with returned_attention(view, batches[0]):
        for neuron, head in pairs.tolist():
            activations, added = [], []
            for batch in batches:
                clean, fired = attention_to_first(view, batch, neuron, head, ablate=False)
                without, _ = attention_to_first(view, batch, neuron, head, ablate=True)
                text = batch.text_mask.to(clean.device)
                activations.append(fired.reshape(clean.shape)[text].double().cpu())
                added.append((clean - without)[text].double().cpu())
            both = torch.stack([torch.cat(activations), torch.cat(added)])
            found.append(torch.stack([both[1].mean(), torch.corrcoef(both)[0, 1]]))
    return torch.stack(found, dim=1)


def attention_to_first(
    view: WeightView, batch: Batch, neuron: int, head: int, *, ablate: bool
) -> tuple[Tensor, Tensor]:
    """Return the attention of a head to the first token, and the activation of a neuron, [row, position] each.

    With ``ablate``, the neuron writes nothing into the stream from which the queries of the head are made.
    ``returned_attention`` has to be open.
    """
    layer, unit = view.anatomy.layout.per_token.place_of(neuron)
    at = view.anatomy.heads[head]
    seen: dict[str, Tensor] = {}

    def keep(units: Tensor) -> Tensor:
        seen["fired"] = units[..., unit]
        return units

    def requery(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        part = seen["fired"].reshape(*seen["stream"].shape[:-1], 1) * written.to(seen["stream"])
        moved = module.forward(norm.forward(seen["stream"] - part))
        changed = output.clone()
        changed[..., rows] = moved[..., rows]
        return changed

    model, write = view.loaded.model, view.stream_writes[layer]
    norm = model.get_submodule(at.query.input_norm.norm)
    if write is None or write is not view.layers[layer].write or not at.query.projection.whole:
        raise NotApplicable("the queries of this model's heads cannot be changed alone")
    written, rows = write[unit], list(at.query.rows)
    with ExitStack() as stack:
        stack.enter_context(changed_units(view, {layer: keep}))
        hook = norm.register_forward_pre_hook(lambda module, args: seen.update(stream=args[0]))
        stack.callback(hook.remove)
        if ablate:
            stack.callback(model.get_submodule(at.query.projection.module).register_forward_hook(requery).remove)
        patterns = attention_patterns(view, batch)
    numbers = sorted({other.layer for other in view.anatomy.heads})
    return patterns[numbers.index(at.layer)][:, at.index, :, 0], seen["fired"]
