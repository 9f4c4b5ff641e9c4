"""Running a model on token ids alone, under any name that its class gives them."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


TEXT_INPUTS = ("input_ids", "decoder_input_ids", "inputs")
"""The names that models give to the token ids they read."""


@cache
def accepted_arguments(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of the arguments of the forward method of a class."""
    return frozenset(inspect.signature(forward).parameters)


def without_head(model: Any) -> Any:
    """The model without the head that computes logits."""
    return getattr(model, "base_model", model)


def text_arguments(model: Any, ids: Tensor, attended: Tensor) -> dict[str, Tensor]:
    """The arguments of ``model.forward`` for some token ids and their attention mask, both [row, position].

    A decoder behind an encoder is given the same text, so that both stacks have an activation at every token.
    """
    known = accepted_arguments(type(model).forward)
    device = getattr(model, "device", ids.device)
    ids, attended = ids.to(device), attended.to(device)
    names = [name for name in TEXT_INPUTS if name in known]
    if "input_ids" in names and "inputs" in names:
        names.remove("inputs")
    given = dict.fromkeys(names or ["input_ids"], ids)
    if "attention_mask" in known:
        given["attention_mask"] = attended
    if "decoder_attention_mask" in known and "decoder_input_ids" in given:
        given["decoder_attention_mask"] = attended
    return given


def run_model(
    model: Any, ids: Tensor, attended: Tensor, *, whole: bool = False, states: bool = False, attentions: bool = False
) -> Any:
    """The output of one forward pass over ``ids``, without the head unless ``whole``.

    ``ids`` and the attention mask ``attended`` are [row, position]. With ``states`` the output has the residual stream
    after every block, with ``attentions`` the attention probabilities of every layer where the model returns them.
    """
    running = model if whole else without_head(model)
    known = accepted_arguments(type(running).forward)
    chosen = {"output_hidden_states": True} if states else {}
    if attentions:
        chosen["output_attentions"] = True
    if "use_cache" in known:
        chosen["use_cache"] = False
    plain = all(type(p) is torch.nn.Parameter for p in running.parameters())
    with torch.inference_mode() if plain else torch.no_grad():  # quantised tensors may lack inference mode
        return running(**text_arguments(running, ids, attended), **chosen)


def middle_stream(output: Any) -> Tensor | None:
    """The residual stream after half of the blocks, or None if the output has no hidden states.

    It is [row, position, width], or [row, position, stream, width] for a model with several streams. Of an encoder and
    a decoder it is that of the decoder.
    """
    for name in ("hidden_states", "decoder_hidden_states", "encoder_hidden_states"):
        states = getattr(output, name, None)
        if states:
            found: Tensor = states[(len(states) - 1) // 2]
            return found
    return None
