"""Where the middle of the residual stream can be read while a model runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.layout import StreamLocation
from pytest_unineuron.models.loading.forward import middle_stream, run_model

if TYPE_CHECKING:
    from torch import Tensor, nn


def find_stream(model: nn.Module, ids: Tensor) -> StreamLocation | None:
    """The location of the stream after half of the blocks; None for a model that does not return hidden states.

    ``ids`` are [row, position]. The reader is the first module with an argument that has the memory of the hidden
    state that the model returns.
    """
    given: list[tuple[tuple[str, int, str], Tensor]] = []
    calls: dict[str, int] = {}

    def note(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = calls[path] = calls.get(path, -1) + 1
        for name, value in (*enumerate(args), *kwargs.items()):
            if isinstance(value, torch.Tensor) and value.dim() > 2 and value.shape[:2] == ids.shape:
                # The tensor is stored too, so that its memory is not used again during the pass.
                given.append(((path, call, str(name)), value))

    modules = model.named_modules()
    handles = [module.register_forward_pre_hook(partial(note, path), with_kwargs=True) for path, module in modules]
    try:
        states = middle_stream(run_model(model, ids, torch.ones_like(ids), states=True))
    finally:
        for handle in handles:
            handle.remove()
    if states is None or states.shape[:2] != ids.shape:
        return None
    width = stream_rows(states).shape[1]
    same = (where for where, value in given if _is_same_view(value, states))
    return StreamLocation(width, *next(same, ("", 0, "")))


def _is_same_view(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()


def stream_rows(states: Tensor) -> Tensor:
    """The residual stream [row, position, …] as [token, feature]; of several streams, the features of all."""
    return states.flatten(0, 1).flatten(1)


def stream_argument(stream: StreamLocation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The residual stream [row, position, …] among the arguments of its reader."""
    value: Tensor = args[int(stream.argument)] if stream.argument.isdigit() else kwargs[stream.argument]
    return value
