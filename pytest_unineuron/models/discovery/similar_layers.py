"""From the neuron layers that were seen to those like them: experts that no token reached, units that were dead.

What is alike is the path of the parameters, numbers aside, and their shape.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.activation_functions import name_activation
from pytest_unineuron.models.discovery.graph import projection_of
from pytest_unineuron.models.discovery.layout import POOLED, NeuronLayer, NeuronLayout, Projection, ProjectionSlice

if TYPE_CHECKING:
    from torch import nn

    from pytest_unineuron.models.discovery.graph import Trace, TracedOp

_NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")

Place = tuple[str, str, int, int]
"""A parameter and the module that runs it, the number of the part of it, and how often that was used before."""


def path_pattern(path: str) -> str:
    """A path with its numbers left open.

    >>> pattern("h.3.experts.expert_2.w1.weight")
    'h.#.experts.expert_#.w1.weight'
    """
    return _NUMBER.sub("#", path)


def moved_path(path: str, old: str, new: str) -> str:
    """``path``, which stands near ``old``, as it is called near ``new``: the numbers they share are those of ``new``.

    >>> moved("h.0.ln_2", "h.0.mlp.w2", "h.5.mlp.w2")
    'h.5.ln_2'
    """
    pieces, olds, news = _NUMBER.split(path), _NUMBER.split(old), _NUMBER.split(new)
    own, before, after = _NUMBER.findall(path), _NUMBER.findall(old), _NUMBER.findall(new)
    if olds != news:
        return path
    shared = 0
    while shared < min(len(own), len(before)) and pieces[shared] == olds[shared] and own[shared] == before[shared]:
        shared += 1
    numbers = after[:shared] + own[shared:]
    return "".join(a + b for a, b in zip(pieces, [*numbers, ""], strict=True))


class SimilarLayers:
    """The sites of a model, made complete from those that were seen at work."""

    def __init__(self, found: list[NeuronLayer], trace: Trace, model: nn.Module) -> None:
        self._ops = {_place(projection_of(op), op.call): op for op in trace.linear()}
        self._order = {place: number for number, place in enumerate(self._ops)}
        self._parameters = dict(model.named_parameters())
        self._names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._names |= {place[0] for place in self._ops}
        self._rows = max((len(op.rows) for op in trace.linear()), default=0)
        self._templates = {path_pattern(site.down.parameter): site for site in reversed(found)}
        self._sites = {_place(site.down, site.call): site for site in found}

    def plan(self) -> NeuronLayout:
        """Every site, in the order in which they run."""
        self._executed()
        self._parts()
        self._modules()
        self._number_experts()
        return NeuronLayout(tuple(self._sites[place] for place in self._in_order()))

    def _executed(self) -> None:
        """Matmuls that ran but could not be told to read neurons, such as those of dead units."""
        for place, op in self._ops.items():
            template = self._template(place)
            alike = template is not None and _name_of(op.module) == _name_of(template.down.module)
            if template is not None and alike and op.rows.shape[1] == template.width:
                self._add(template, projection_of(op), op.call, op.block)
                if op.operand is None or op.operand.parameter != template.down.parameter:
                    self._name(place, op)

    def _name(self, place: Place, op: TracedOp) -> None:
        """Being alike does not make the activation the same: some models have a sparse one in some layers."""
        site = self._sites[place]
        values = []
        for factor in site.up:
            ups = [(self._ops.get(_place(r.projection, r.call)), r) for r in factor.terms]
            parts = [r.scale * up.out[:, r.slice(site.width)] for up, r in ups if up is not None]
            if len(parts) < len(ups):
                return
            values.append(torch.stack(parts).sum(dim=0))
        named = frozenset({site.activation})
        found, first = name_activation(op.rows.detach(), values, named, scaled=site.routing_weighted)
        if (found, first) != (site.activation, 0):
            self._sites[place] = replace(site, activation="")

    def _parts(self) -> None:
        """Experts in one tensor, of which no token reached some."""
        tensors = {(site.down.parameter, site.down.module, site.call): site for site in self._sites.values()}
        for site in tensors.values():
            for part in range(site.down.parts):
                self._add(site, replace(site.down, part=part), site.call)

    def _modules(self) -> None:
        """Experts that are modules of their own, in blocks that ran."""
        known = {place[0] for place in (*self._sites, *self._ops)}
        blocks = {f"{site.stack}.{site.number}." for site in self._sites.values()}
        for name, parameter in self._parameters.items():
            template = self._template((name, "", 0, 0))
            if (
                name in known
                or template is None
                or template.down.parts > 1
                or not any(name.startswith(b) for b in blocks)
            ):
                continue
            if parameter.shape == self._parameters[template.down.parameter].shape:
                old = template.down.parameter
                down = replace(template.down, parameter=name, module=moved_path(template.down.module, old, name))
                self._add(template, down, 0)

    def _template(self, place: Place) -> NeuronLayer | None:
        return None if place in self._sites else self._templates.get(path_pattern(place[0]))

    def _add(self, like: NeuronLayer, down: Projection, call: int, block: str = "") -> None:
        place = _place(down, call)
        if place in self._sites:
            return
        old, new = like.down.parameter, down.parameter
        ups = tuple(self._rows_of(rows, like, down, call) for rows in like.up)
        if not all(rows.projection.parameter in self._names for factor in ups for rows in factor.terms):
            return  # alike in name only
        stack, _, layer = (block or moved_path(f"{like.stack}.{like.number}", old, new)).rpartition(".")
        self._sites[place] = replace(
            like,
            stack=stack,
            number=int(layer) if layer.isdigit() else like.number,
            down=down,
            call=call,
            up=ups,
            norm=moved_path(like.norm, old, new),
            inner_norm=moved_path(like.inner_norm, old, new),
        )

    def _rows_of(self, rows: ProjectionSlice, like: NeuronLayer, down: Projection, call: int) -> ProjectionSlice:
        old, new = like.down.parameter, down.parameter
        of = rows.projection
        part = down.part if of.parts > 1 and of.part == like.down.part else of.part
        also = tuple(self._rows_of(more, like, down, call) for more in rows.summands)
        return replace(
            rows,
            call=rows.call + call - like.call,
            summands=also,
            projection=replace(
                of,
                parameter=moved_path(of.parameter, old, new),
                module=moved_path(of.module, old, new),
                bias=moved_path(of.bias, old, new),
                part=part,
            ),
        )

    def _number_experts(self) -> None:
        """Where alike matmuls of one block shared the tokens between them, they are experts."""
        groups: dict[tuple[str, int, int, str], list[Place]] = {}
        for place, site in self._sites.items():
            groups.setdefault(_group(place, site), []).append(place)
        for places in groups.values():
            if any(self._sites[place].row_kind == POOLED for place in places):
                continue
            shared = any(place not in self._ops or len(self._ops[place].rows) < self._rows for place in places)
            if len(places) == 1 or not (shared or self._sites[places[0]].down.parts > 1):
                continue
            for number, place in enumerate(sorted(places, key=_natural)):
                self._sites[place] = replace(self._sites[place], expert=number)

    def _in_order(self) -> list[Place]:
        """As they ran; experts stand together, in the order of their numbers, where the first of them ran."""
        first: dict[tuple[str, int, int, str], int] = {}
        for place, site in self._sites.items():
            if place in self._order:
                group = _group(place, site)
                first[group] = min(self._order[place], first.get(group, self._order[place]))

        def position(place: Place) -> tuple[int, int]:
            site = self._sites[place]
            if site.expert is None and place in self._order:
                return self._order[place], 0
            return first.get(_group(place, site), 0), site.expert or 0

        return sorted(self._sites, key=position)


def _group(place: Place, site: NeuronLayer) -> tuple[str, int, int, str]:
    """What is alike in one block: the experts of a layer, for instance."""
    return site.stack, site.number, site.call, path_pattern(place[0])


def _place(down: Projection, call: int) -> Place:
    return down.parameter, down.module, down.part, call


def _name_of(module: str) -> str:
    """What a module is called where it stands: its number among others' like it is no part of that."""
    return module.rpartition(".")[2]


def _natural(place: Place) -> tuple[list[int], int]:
    return [int(number) for number in _NUMBER.findall(place[0])], place[2]


def with_similar_layers(found: list[NeuronLayer], trace: Trace, model: nn.Module) -> NeuronLayout:
    """The sites that were found and those like them in the same model, in the order in which they run."""
    return SimilarLayers(found, trace, model).plan()
