"""Where the middle of the residual stream can be read while a model runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.layout import StreamLocation
from pytest_unineuron.models.loading.forward import middle_stream, run_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


def find_stream(model: nn.Module, ids: Tensor) -> StreamLocation | None:
    """The stream after half of the blocks, and the first module that is given it; None where a model shows none.

    ``ids`` are [row, position]. A module is known by the memory that it is given, which is that of what the model
    returns as its hidden state.
    """
    given: list[tuple[str, int, str, Tensor]] = []
    calls: dict[str, int] = {}

    def hook(path: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = calls[path] = calls.get(path, -1) + 1
            for name, value in (*enumerate(args), *kwargs.items()):
                if isinstance(value, torch.Tensor) and value.dim() > 2 and value.shape[:2] == ids.shape:
                    given.append((path, call, str(name), value))  # held, so that no other is made in its place

        return note

    handles = [module.register_forward_pre_hook(hook(path), with_kwargs=True) for path, module in model.named_modules()]
    try:
        states = middle_stream(run_model(model, ids, torch.ones_like(ids), states=True))
    finally:
        for handle in handles:
            handle.remove()
    if states is None or states.shape[:2] != ids.shape:
        return None
    width = stream_rows(states).shape[1]
    for path, call, argument, value in given:
        if value.data_ptr() == states.data_ptr() and value.shape == states.shape and value.stride() == states.stride():
            return StreamLocation(width, path, call, argument)
    return StreamLocation(width)


def stream_rows(states: Tensor) -> Tensor:
    """[token, feature]; of a model that keeps several streams, those of all of them."""
    return states.flatten(0, 1).flatten(1)


def stream_argument(stream: StreamLocation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The stream [row, position, …] among what its reader is given."""
    value: Tensor = args[int(stream.argument)] if stream.argument.isdigit() else kwargs[stream.argument]
    return value
