"""Catching what the neurons do while a model runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.statistics import POST, PRE, RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from pytest_unineuron.models.neurons import Plan

Receiver = "Callable[[str, int, Tensor], None]"
"""Called with a site, the number of the layer in the plan, and the activations [row, position, unit]."""


@contextmanager
def caught(model: nn.Module, plan: Plan, receive: Callable[[str, int, Tensor], None]) -> Iterator[None]:
    """While open, every forward pass hands the pre- and post-activations of each neuron layer to ``receive``.

    The pre-activation of a gated neuron is that of the factor the activation function acts on; its
    post-activation is the product, which is what the output projection reads.
    """
    modules = dict(model.named_modules())
    read: dict[str, Tensor] = {}
    handles = []

    def keep(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            read[path] = output

        return hook

    def hand_over(index: int) -> Callable[..., None]:
        site = plan.sites[index]
        rows = site.up[0]
        chosen = slice(rows.offset, rows.offset + rows.stride * site.width, rows.stride)

        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            receive(PRE, index, read.pop(rows.module)[..., chosen])
            receive(POST, index, args[0])

        return hook

    for index, site in enumerate(plan.sites):
        handles.append(modules[site.up[0].module].register_forward_hook(keep(site.up[0].module)))
        handles.append(modules[site.down].register_forward_pre_hook(hand_over(index)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward(model: Any, ids: Tensor, attended: Tensor, receive: Callable[[str, int, Tensor], None]) -> None:
    """One pass without the unembedding; the residual stream after half of the blocks goes to ``receive`` too."""
    core = getattr(model, "base_model", model)
    with torch.inference_mode():
        states = core(
            input_ids=ids.to(model.device), attention_mask=attended.to(model.device), output_hidden_states=True
        ).hidden_states
        receive(RESIDUAL, 0, states[(len(states) - 1) // 2])
