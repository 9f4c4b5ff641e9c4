"""Running a model on token ids alone, whatever its class calls them."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


TEXT_INPUTS = ("input_ids", "decoder_input_ids", "inputs")
"""What models call the tokens they read."""


@cache
def accepted_arguments(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of what the forward method of a class can be given."""
    return frozenset(inspect.signature(forward).parameters)


def without_head(model: Any) -> Any:
    """The model without the head that makes logits of what its layers say."""
    return getattr(model, "base_model", model)


def text_arguments(model: Any, ids: Tensor, attended: Tensor) -> dict[str, Tensor]:
    """What ``model.forward`` calls these tokens, [row, position] each.

    A decoder that reads an encoder is given the same text, so that both stacks have an activation at every token.
    """
    known = accepted_arguments(type(model).forward)
    device = getattr(model, "device", ids.device)
    ids, attended = ids.to(device), attended.to(device)
    names = [name for name in TEXT_INPUTS if name in known]
    if "input_ids" in names and "inputs" in names:
        names.remove("inputs")
    given = dict.fromkeys(names or ["input_ids"], ids)
    masks = ("attention_mask", "decoder_attention_mask")
    given.update(
        {
            name: attended
            for name in masks
            if name in known and name.replace("attention_mask", "input_ids") in (*given, "input_ids")
        }
    )
    return given


def run_model(model: Any, ids: Tensor, attended: Tensor, *, whole: bool = False, states: bool = False) -> Any:
    """One forward pass, without the head unless ``whole``, under inference mode. Returns what the model does.

    With ``states`` that has the residual stream after every block.
    """
    running = model if whole else without_head(model)
    known = accepted_arguments(type(running).forward)
    chosen = {"output_hidden_states": True} if states else {}
    if "use_cache" in known:
        chosen["use_cache"] = False
    plain = all(type(p) is torch.nn.Parameter for p in running.parameters())
    with torch.inference_mode() if plain else torch.no_grad():  # quantised tensors may know no inference mode
        return running(**text_arguments(running, ids, attended), **chosen)


def middle_stream(output: Any) -> Tensor | None:
    """The residual stream after half of the blocks, [row, position, …]; of a decoder where there are two.

    Mostly that is its width; where a model keeps several streams, [stream, width].
    """
    for name in ("hidden_states", "decoder_hidden_states", "encoder_hidden_states"):
        states = getattr(output, name, None)
        if states:
            found: Tensor = states[(len(states) - 1) // 2]
            return found
    return None
