"""On load: what was found behaves like neurons, and the weights that were read are the weights that act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.anatomy import probe_inputs
from pytest_unineuron.models.view import replay

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_unineuron.models.anatomy import Anatomy
    from pytest_unineuron.models.load import Loaded
    from pytest_unineuron.models.neurons import Site
    from pytest_unineuron.models.view import Linear

TOLERANCE = 1e-3
"""Largest allowed error of an identity, relative to the largest value: float32 gives about 1e-6."""


def verify(loaded: Loaded, anatomy: Anatomy) -> None:
    """Check every neuron layer of a model that was just loaded.

    Raises NeuronsNotFound, naming the layer, the identity and the error, unless

    * the widths agree with what the layer was given,
    * ``W_out @ h + b`` is what the output projection returned, and ``W_in @ x + b`` is the pre-activation,
    * zeroing the neuron that writes most moves the model's output.
    """
    modules = dict(loaded.model.named_modules())
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    paths = {path for site in anatomy.plan.sites for path in (site.down, *(rows.module for rows in site.up))}
    handles = [modules[path].register_forward_hook(_keep(seen, path)) for path in paths]
    inputs = probe_inputs(loaded)
    try:
        before = _output(loaded, inputs)
    finally:
        for handle in handles:
            handle.remove()
    for site in anatomy.plan.sites:
        given, returned = seen[site.down]
        if given.shape[-1] != site.width:
            raise NeuronsNotFound(f"{site.down}: reads {given.shape[-1]} units, the plan says {site.width}")
        write = replay(modules[site.down], site.width)
        _agree(site, "W_out h + b = output", _apply(write, given), returned)
        for rows in site.up:
            x, pre = seen[rows.module]
            _agree(site, f"W_in x + b = {rows.module}", _apply(replay(modules[rows.module], x.shape[-1]), x), pre)
        h = given.reshape(-1, site.width)  # [token, unit]
        strongest = int((h.abs().amax(dim=0) * write.weight.norm(dim=0)).argmax())
        with _zeroed(modules[site.down], strongest):
            moved = (_output(loaded, inputs) - before).abs().max()
        if float(moved) == 0.0 and bool(h.any()):
            raise NeuronsNotFound(f"{site}: zeroing neuron {strongest} does not move the output of the model")


def _keep(seen: dict[str, tuple[Tensor, Tensor]], path: str) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen[path] = (args[0].detach(), output.detach())

    return hook


def _output(loaded: Loaded, inputs: dict[str, Tensor]) -> Tensor:
    core = getattr(loaded.model, "base_model", loaded.model)
    with torch.inference_mode():
        output: Tensor = core(**inputs)[0]
    return output


def _apply(linear: Linear, x: Tensor) -> Tensor:
    y = x @ linear.weight.T
    return y if linear.bias is None else y + linear.bias


def _agree(site: Site, identity: str, expected: Tensor, found: Tensor) -> None:
    error = float((expected - found).abs().max() / found.abs().max().clamp_min(1e-12))
    # Half precision carries a hundredth in its products; a wrong orientation is off by more than one.
    limit = TOLERANCE if found.dtype in (torch.float32, torch.float64) else 5e-2
    if error > limit:
        raise NeuronsNotFound(f"{site}: {identity} fails by {error:.2g} of the largest value (allowed {limit:g})")


class _zeroed:  # noqa: N801 - reads as a verb: with _zeroed(module, unit)
    """While open, one unit of a module's input is zero."""

    def __init__(self, module: nn.Module, unit: int) -> None:
        self._module, self._unit = module, unit

    def __enter__(self) -> None:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            changed = args[0].clone()
            changed[..., self._unit] = 0
            return (changed, *args[1:])

        self._handle = self._module.register_forward_pre_hook(hook)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()
