"""The sign of gated neurons: their up projection and what they write can both be reversed without any change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics import POST, PRE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView


def orientation(view: WeightView, batches: Sequence[Batch]) -> Tensor:
    """Return the sign of every neuron's activation where its gate is open, summed over text, [neuron] float64.

    It is 1 for a neuron without a gate, and 0 for a gated one that never was on. Multiplied by it, statistics of the
    write vector, such as the skew of its vocabulary composition, mean the same for all neurons.
    """
    layout = view.anatomy.layout.per_token
    sums = [torch.zeros(layer.width, dtype=torch.float64) for layer in layout.layers]
    gates: dict[int, Tensor] = {}
    mask = torch.empty(0)

    def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        text = mask if tokens is None else mask[tokens.cpu()]
        if site == PRE:
            gates[index] = (values > 0) & text.to(values.device)[:, None]
        elif site == POST:
            sums[index] += (values * gates.pop(index)).sum(dim=0, dtype=torch.float64).cpu()

    if any(layer.gated for layer in layout.layers):
        with capture_activations(view.loaded.model, layout, receive, stream=False) as capture:
            for batch in batches:
                mask = batch.text_mask.flatten()
                capture.forward(batch.ids, batch.attention_mask)
    signs = [
        total.sign() if layer.gated else torch.ones_like(total)
        for layer, total in zip(layout.layers, sums, strict=True)
    ]
    return torch.cat(signs)
