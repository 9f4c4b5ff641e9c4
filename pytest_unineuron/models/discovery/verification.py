"""Checks of a loaded model: its layout has neurons, and the weights that were read are the weights that act."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.activation_functions import activated, activation_function, fitted_per_token
from pytest_unineuron.models.discovery.layout import POOLED, NeuronLayer, NeuronLayout, ProjectionCall
from pytest_unineuron.models.discovery.matrix import LinearMap, projection_matrix
from pytest_unineuron.models.discovery.projection_calls import record_projections, units_by_token
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.layout import ProjectionSlice

TOLERANCE, COARSE_TOLERANCE = 1e-3, 5e-2
"""The largest allowed error of an identity, relative to the largest value: in float32, where it is about 1e-6; and in
half precision or with quantised weights. A matrix in the wrong orientation has an error above 1."""
ROW_TOLERANCE = 0.1
"""The largest allowed difference of a row, relative to its largest value, between a text alone and with another one."""
OUTPUT_IDENTITY, INPUT_IDENTITY = "W_out h + b = output", "W_in x + b = pre"
ACTIVATION_IDENTITY, ROWS_ARE_TOKENS = "act(pre) = h", "rows are tokens"


@dataclass(eq=False)
class LayerValues:
    """The values of one layer on a batch.

    ``units`` and ``output`` are the input and output of ``down``, [row, unit] and [row, feature]; ``up`` has the same
    of every projection that the units are made of. ``by_token`` is [token, unit], with the number of each row's token.
    """

    units: Tensor
    output: Tensor
    up: dict[ProjectionSlice, tuple[Tensor, Tensor]]
    by_token: tuple[Tensor, Tensor | None]


@dataclass(eq=False)
class Verification:
    """The largest error of every identity, relative to the largest value, and the number of products it was checked at.

    ``tolerance`` is the largest allowed error, ``layers`` the number of layers. Experts that no token reached are not
    checked. The error of ROWS_ARE_TOKENS is the one that four tokens of five stay below.
    """

    layers: int
    tolerance: float = TOLERANCE
    errors: dict[str, float] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)

    def add(self, identity: str, error: float) -> None:
        """Add the error of an identity at another layer."""
        self.errors[identity] = max(error, self.errors.get(identity, 0.0))
        self.checked[identity] = self.checked.get(identity, 0) + 1

    def facts(self) -> dict[str, Any]:
        """For every identity the number of layers it was checked at, the number of layers, and its error; JSON-safe."""
        return {
            name: {"sites": min(self.checked[name], self.layers), "of": self.layers, "error": float(f"{error:.2g}")}
            for name, error in self.errors.items()
        }


def verify(model: Any, layout: NeuronLayout, ids: Tensor) -> Verification:
    """Check every neuron layer of a model that was just loaded, on two rows of token ids [2, position].

    Raises NeuronsNotFound, with the layer, the identity and the error, unless

    * the width of the layer is the number of its units,
    * ``W_out h + b`` is the output of the output projection, and ``W_in x + b`` is the pre-activation,
    * the activation function of the pre-activation, times the other factor, is h,
    * both rows of ids together give the units that each gives alone, so that rows belong to the right tokens,
    * the output of the model changes when the neuron that writes most is zero.
    """
    found = Verification(len(layout.layers), _tolerance(model))
    both = layer_values(model, layout, ids)
    for layer, values in both.items():
        if values.units.shape[1] != layer.width:
            raise NeuronsNotFound(
                f"{layer.down.path}: reads {values.units.shape[1]} units, the layout says {layer.width}"
            )
        if len(values.units):
            _check_identities(model, layer, values, found)
    if not both:
        raise NeuronsNotFound("none of the neuron layers in the layout ran")
    alone = [layer_values(model, layout, row[None]) for row in ids]
    for layer, values in both.items():
        if layer.row_kind != POOLED:
            apart = torch.cat([_dense(of_row.get(layer), ids.shape[1], values) for of_row in alone])
            _check_rows(layer, apart, _dense(values, ids.numel(), values), found)
    _check_effect(model, [layer for layer in _first_and_last(layout) if layer in both], both, ids)
    return found


def layer_values(model: Any, layout: NeuronLayout, ids: Tensor) -> dict[NeuronLayer, LayerValues]:
    """The values of every layer on a batch of ids [row, position], without the layers that no token reached.

    Raises NeuronsNotFound if the model does not call a projection that the layout names.
    """
    seen: dict[ProjectionCall, tuple[Tensor, Tensor, Tensor | None]] = {}

    def receive(call: ProjectionCall, x: Tensor, y: Tensor | None, tokens: Tensor | None) -> None:
        assert y is not None
        seen[call] = (x.clone(), y.clone(), tokens)  # some models change an output in place

    with record_projections(model, layout, receive):
        run_model(model, ids, torch.ones_like(ids))
    found = {}
    for layer in layout.layers:
        if (down := seen.get(ProjectionCall(layer.down, layer.call))) is None:
            continue
        calls = {term: ProjectionCall(term.projection, term.call) for factor in layer.up for term in factor.terms}
        if any(call not in seen for call in calls.values()):
            raise NeuronsNotFound(f"{layer}: the projections that it reads did not run as the layout says")
        up = {term: (_flat(seen[call][0]), _flat(seen[call][1])) for term, call in calls.items()}
        by_token = units_by_token(layer, down[0], down[2], ids.shape)
        found[layer] = LayerValues(_flat(down[0]), _flat(down[1]), up, by_token)
    return found


def _check_identities(model: Any, layer: NeuronLayer, values: LayerValues, found: Verification) -> None:
    write = projection_matrix(model, layer.down, layer.width)
    _check_equal(layer, OUTPUT_IDENTITY, _apply_linear(write, values.units), values.output, found)
    for term, (x, y) in values.up.items():
        _check_equal(
            layer, INPUT_IDENTITY, _apply_linear(projection_matrix(model, term.projection, x.shape[1]), x), y, found
        )
    if layer.activation and not layer.inner_norm:
        _check_equal(layer, ACTIVATION_IDENTITY, _activated(layer, values), values.units, found)


def _activated(layer: NeuronLayer, values: LayerValues) -> Tensor:
    """The units [row, unit] that the named activation function makes of the outputs of the input projections."""
    factors: list[Any] = [
        sum(term.scale * values.up[term][1][:, term.slice(layer.width)] for term in factor.terms) for factor in layer.up
    ]
    units = activated(activation_function(layer.activation), factors)
    return fitted_per_token(units, values.units) if layer.routing_weighted else units


def _apply_linear(linear: LinearMap, x: Tensor) -> Tensor:
    y: Tensor = x @ linear.weight.to(x.dtype).T
    return y if linear.bias is None else y + linear.bias


def _check_equal(layer: NeuronLayer, identity: str, expected: Tensor, found: Tensor, result: Verification) -> None:
    error = float((expected - found).abs().max() / found.abs().max().clamp_min(1e-12)) if found.numel() else 0.0
    if not error <= result.tolerance:
        raise NeuronsNotFound(
            f"{layer}: {identity} fails by {error:.2g} of the largest value (allowed {result.tolerance:g})"
        )
    result.add(identity, error)


def _check_rows(layer: NeuronLayer, apart: Tensor, together: Tensor, result: Verification) -> None:
    """Check that units [token, unit] of texts alone and together agree at four tokens of five.

    At the others, rounding may have sent a token to another expert.
    """
    apart, together = apart.float(), together.float()
    reached = (apart != 0).any(dim=1) | (together != 0).any(dim=1)
    # Relative to the size of each row, since one token can be a thousand times larger than all others.
    size = torch.maximum(apart.abs().amax(dim=1), together.abs().amax(dim=1))
    size = size.clamp_min(1e-6 * float(together.abs().max())).clamp_min(1e-12)
    errors = ((apart - together).abs().amax(dim=1) / size)[reached]
    error = float(errors.quantile(0.8)) if len(errors) else 0.0
    if not error <= ROW_TOLERANCE:
        raise NeuronsNotFound(
            f"{layer}: {ROWS_ARE_TOKENS} fails by {error:.2g} of the largest value; they are in another order"
        )
    result.add(ROWS_ARE_TOKENS, error)


def _check_effect(model: Any, layers: list[NeuronLayer], values: dict[NeuronLayer, LayerValues], ids: Tensor) -> None:
    """Check that the output of the model depends on the neurons of at least one of some layers."""
    if not layers:
        return
    before = run_model(model, ids, torch.ones_like(ids))[0]
    if all(torch.equal(_without(model, layer, values[layer], ids), before) for layer in layers):
        raise NeuronsNotFound(f"{layers[0]}: zeroing the neuron that writes most does not move the output of the model")


def _first_and_last(layout: NeuronLayout) -> list[NeuronLayer]:
    """The first and the last layer of every stack whose units can be changed by a hook."""
    stacks: dict[str, list[NeuronLayer]] = {}
    for layer in layout.layers:
        if layer.down.whole and layer.expert is None and not layer.down.channels_first:
            stacks.setdefault(layer.stack, []).append(layer)
    return [layer for layers in stacks.values() for layer in dict.fromkeys((layers[0], layers[-1]))]


def _without(model: Any, layer: NeuronLayer, values: LayerValues, ids: Tensor) -> Tensor:
    """The output of the model while the neuron that writes most is zero."""
    written = values.units.abs().amax(dim=0) * projection_matrix(model, layer.down, layer.width).weight.norm(dim=0)
    strongest = int(written.argmax())

    def hook(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        changed = args[0].clone()
        changed[..., strongest] = 0
        return (changed, *args[1:])

    handle = model.get_submodule(layer.down.module).register_forward_pre_hook(hook)
    try:
        returned: Tensor = run_model(model, ids, torch.ones_like(ids))[0]
    finally:
        handle.remove()
    return returned


def _dense(values: LayerValues | None, count: int, like: LayerValues) -> Tensor:
    """The units of ``count`` tokens, [token, unit], of the width and type of ``like``; 0 where no row is a token's."""
    dense = torch.zeros(count, like.units.shape[1], dtype=like.units.dtype, device=like.units.device)
    if values is not None:
        units, tokens = values.by_token
        dense[slice(None) if tokens is None else tokens] = units
    return dense


def _tolerance(model: Any) -> float:
    plain = all(type(p) is torch.nn.Parameter for p in model.parameters()) and not getattr(model, "is_quantized", False)
    full = model.dtype in (torch.float32, torch.float64)
    return TOLERANCE if plain and full else COARSE_TOLERANCE


def _flat(x: Tensor) -> Tensor:
    return x.detach().reshape(-1, x.shape[-1])
