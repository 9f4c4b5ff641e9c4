"""Neuron layers like those that were found: experts that no token reached, and layers with dead units.

Two layers are alike if their parameters have the same shape and the same path up to its numbers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_unineuron.models.discovery.activation_functions import name_activation
from pytest_unineuron.models.discovery.layout import POOLED, NeuronLayer, Projection, ProjectionSlice

if TYPE_CHECKING:
    from torch import nn

    from pytest_unineuron.models.discovery.graph import Trace, TracedOp

_NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")


class DownCall(NamedTuple):
    """The use of a parameter, or of a part of it, by a module that used it ``call`` times before in the pass."""

    parameter: str
    module: str
    part: int
    call: int


def with_similar_layers(found: list[NeuronLayer], trace: Trace, model: nn.Module) -> tuple[NeuronLayer, ...]:
    """The layers that were found and those like them in the same model, in the order in which they run."""
    return _SimilarLayers(found, trace, model).all()


def path_pattern(path: str) -> str:
    """A path with its numbers replaced by ``#``.

    >>> path_pattern("h.3.experts.expert_2.w1.weight")
    'h.#.experts.expert_#.w1.weight'
    """
    return _NUMBER.sub("#", path)


def moved_path(path: str, old: str, new: str) -> str:
    """``path`` with the numbers that it shares with ``old`` replaced by those of ``new``.

    >>> moved_path("h.0.ln_2", "h.0.mlp.w2", "h.5.mlp.w2")
    'h.5.ln_2'
    """
    pieces, old_pieces = _NUMBER.split(path), _NUMBER.split(old)
    if old_pieces != _NUMBER.split(new):
        return path
    numbers, old_numbers, new_numbers = (_NUMBER.findall(each) for each in (path, old, new))
    shared = 0
    for piece, old_piece, number, old_number in zip(pieces, old_pieces, numbers, old_numbers, strict=False):
        if (piece, number) != (old_piece, old_number):
            break
        shared += 1
    numbers[:shared] = new_numbers[:shared]
    return "".join(piece + number for piece, number in zip(pieces, [*numbers, ""], strict=True))


class _SimilarLayers:
    """The layers of a model by the use of their output projection, starting from those that were found."""

    def __init__(self, found: list[NeuronLayer], trace: Trace, model: nn.Module) -> None:
        self._ops = {_down_call(op.projection, op.call): op for op in trace.matmuls}
        self._order = {down: number for number, down in enumerate(self._ops)}
        self._parameters = dict(model.named_parameters())
        self._names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._names |= {down.parameter for down in self._ops}
        self._tokens = max((len(op.inputs) for op in trace.matmuls), default=0)
        self._templates = {path_pattern(layer.down.parameter): layer for layer in reversed(found)}
        self._layers = {_down_call(layer.down, layer.call): layer for layer in found}
        self._readers = {
            (layer.stack, layer.number, path_pattern(layer.down.parameter)): layer.reading_norms for layer in found
        }

    def all(self) -> tuple[NeuronLayer, ...]:
        """Every layer, in the order in which they run."""
        self._add_executed()
        self._add_parts()
        self._add_modules()
        self._number_experts()
        return tuple(self._layers[down] for down in self._in_order())

    def _add_executed(self) -> None:
        """Add matmuls that ran but did not show that they read neurons, such as those of dead units."""
        for down, op in self._ops.items():
            template = self._template(down)
            if template is None or op.inputs.shape[1] != template.width:
                continue
            if _last_name(op.module) == _last_name(template.down.module):
                self._add(template, op.projection, op.call, op.block)
                if op.projection.parameter != template.down.parameter:
                    self._check_activation(down, op)

    def _check_activation(self, down: DownCall, op: TracedOp) -> None:
        """Drop the name of the activation function where it does not fit, as some models use another in some layers."""
        layer = self._layers[down]
        values = []
        for factor in layer.up:
            ops = [self._ops.get(_down_call(term.projection, term.call)) for term in factor.terms]
            parts = [
                term.scale * up.outputs[:, term.slice(layer.width)]
                for term, up in zip(factor.terms, ops, strict=True)
                if up is not None
            ]
            if len(parts) < len(ops):
                return
            values.append(torch.stack(parts).sum(dim=0))
        preferred = frozenset({layer.activation})
        found = name_activation(op.inputs.detach(), values, preferred, routing_weighted=layer.routing_weighted)
        if found != (layer.activation, 0):
            self._layers[down] = replace(layer, activation="")

    def _add_parts(self) -> None:
        """Add experts in shared tensors that no token reached."""
        tensors = {(layer.down.parameter, layer.down.module, layer.call): layer for layer in self._layers.values()}
        for layer in tensors.values():
            for part in range(layer.down.parts):
                self._add(layer, replace(layer.down, part=part), layer.call)

    def _add_modules(self) -> None:
        """Add experts that are modules of their own and that no token reached, in blocks that ran."""
        known = {down.parameter for down in (*self._layers, *self._ops)}
        blocks = tuple({f"{layer.stack}.{layer.number}." for layer in self._layers.values()})
        for name, parameter in self._parameters.items():
            template = self._template(DownCall(name, "", 0, 0))
            if name in known or template is None or template.down.parts > 1 or not name.startswith(blocks):
                continue
            if parameter.shape == self._parameters[template.down.parameter].shape:
                module = moved_path(template.down.module, template.down.parameter, name)
                self._add(template, replace(template.down, parameter=name, module=module), 0)

    def _template(self, down: DownCall) -> NeuronLayer | None:
        """The layer that a new one is copied from; None if no layer is alike or if this use is known already."""
        return None if down in self._layers else self._templates.get(path_pattern(down.parameter))

    def _add(self, like: NeuronLayer, down: Projection, call: int, block: str = "") -> None:
        key = _down_call(down, call)
        if key in self._layers:
            return
        old, new = like.down.parameter, down.parameter
        up = tuple(_moved_slice(factor, like, down, call) for factor in like.up)
        if not all(term.projection.parameter in self._names for factor in up for term in factor.terms):
            return  # only the name of the output projection is alike
        stack, _, number = (block or moved_path(f"{like.stack}.{like.number}", old, new)).rpartition(".")
        at = int(number) if number.isdigit() else like.number
        self._layers[key] = replace(
            like,
            stack=stack,
            number=at,
            down=down,
            call=call,
            up=up,
            norm=moved_path(like.norm, old, new),
            inner_norm=moved_path(like.inner_norm, old, new),
            # What reads the output is that of the block: a template in another one is read by other norms.
            reading_norms=self._readers.get(
                (stack, at, path_pattern(new)), tuple(moved_path(norm, old, new) for norm in like.reading_norms)
            ),
        )

    def _number_experts(self) -> None:
        """Number layers of one block that are alike and that share the tokens between them: these are experts."""
        groups: dict[tuple[str, int, int, str], list[DownCall]] = {}
        for down, layer in self._layers.items():
            groups.setdefault(_group(down, layer), []).append(down)
        for downs in groups.values():
            if any(self._layers[down].row_kind == POOLED for down in downs):
                continue
            shared = any(down not in self._ops or len(self._ops[down].inputs) < self._tokens for down in downs)
            if len(downs) == 1 or not (shared or self._layers[downs[0]].down.parts > 1):
                continue
            for number, down in enumerate(sorted(downs, key=_natural)):
                self._layers[down] = replace(self._layers[down], expert=number)

    def _in_order(self) -> list[DownCall]:
        """The layers as they ran. Experts stand together, by their numbers, where the first of them ran."""
        first: dict[tuple[str, int, int, str], int] = {}
        for down, layer in self._layers.items():
            if down in self._order:
                group = _group(down, layer)
                first[group] = min(self._order[down], first.get(group, self._order[down]))

        def position(down: DownCall) -> tuple[int, int]:
            layer = self._layers[down]
            if layer.expert is None and down in self._order:
                return self._order[down], 0
            return first.get(_group(down, layer), 0), layer.expert or 0

        return sorted(self._layers, key=position)


def _moved_slice(factor: ProjectionSlice, like: NeuronLayer, down: Projection, call: int) -> ProjectionSlice:
    """A factor of the layer ``like`` as it is in the layer whose output projection is ``down``."""
    old, new = like.down.parameter, down.parameter
    projection = factor.projection
    own_part = projection.parts > 1 and projection.part == like.down.part
    return replace(
        factor,
        call=factor.call + call - like.call,
        summands=tuple(_moved_slice(summand, like, down, call) for summand in factor.summands),
        projection=replace(
            projection,
            parameter=moved_path(projection.parameter, old, new),
            module=moved_path(projection.module, old, new),
            bias=moved_path(projection.bias, old, new),
            part=down.part if own_part else projection.part,
        ),
    )


def _group(down: DownCall, layer: NeuronLayer) -> tuple[str, int, int, str]:
    """The key that similar layers of one block share, such as the experts of that block."""
    return layer.stack, layer.number, layer.call, path_pattern(down.parameter)


def _down_call(down: Projection, call: int) -> DownCall:
    return DownCall(down.parameter, down.module, down.part, call)


def _last_name(module: str) -> str:
    return module.rpartition(".")[2]


def _natural(down: DownCall) -> tuple[list[int], int]:
    return [int(number) for number in _NUMBER.findall(down.parameter)], down.part
