"""The units of one model on a batch, of every kind that can be compared between models."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pytest_unineuron.activations.forward_pass import Consumer, Encoding, run_pass
from pytest_unineuron.errors import ModelError
from pytest_unineuron.extend.table import load
from pytest_unineuron.statistics import ATTENTION, POST, RESIDUAL
from pytest_unineuron.universality.kinds import HEADS, KINDS, NEURONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.weights.weight_view import WeightView
    from pytest_unineuron.universality.kinds import UnitKind


@dataclass(eq=False)
class ComparedModel:
    """One of the models that are compared.

    ``transform`` makes other units of a layer's units, as a rotation does: (site, layer, [token, unit]) to
    [token, unit]. ``site`` is where neurons are compared, before or after the activation function. ``encodings`` holds
    those that were made, by kind.
    """

    view: WeightView
    transform: Callable[[str, int, Tensor], Tensor] | None = None
    site: str = POST
    encodings: dict[str, Encoding] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The model in memory."""
        return self.view.loaded.model

    @property
    def anatomy(self) -> Anatomy:
        """Where its neurons, norms and heads are."""
        return self.view.anatomy

    @property
    def dtype(self) -> torch.dtype:
        """The precision of observed units: float64 of a float64 model, float32 of all others."""
        return torch.float64 if self.model.dtype == torch.float64 else torch.float32

    def sizes(self, kind: str) -> list[int]:
        """The number of units of a kind, layer by layer."""
        if kind == HEADS:  # known without their encoders
            return [attention.heads for attention in self.anatomy.attentions]
        return list(self.encoding(kind).sizes) if KINDS[kind].encoders else self.site_sizes(KINDS[kind].site)

    def site_sizes(self, site: str) -> list[int]:
        """The number of units of a site itself, layer by layer."""
        if site == RESIDUAL:
            return [self.anatomy.middle_width] if self.anatomy.middle_width else []
        if site == ATTENTION:
            return [attention.heads * attention.dimension for attention in self.anatomy.attentions]
        return [layer.width for layer in self.anatomy.layout.layers]

    @property
    def n_units(self) -> int:
        """The number of units of all kinds."""
        return sum(sum(self.sizes(kind)) for kind in KINDS)

    def layers(self, kind: str) -> list[int]:
        """The layer number of every unit of a kind."""
        site = KINDS[kind].site
        numbers = {
            RESIDUAL: [0] if self.anatomy.middle_width else [],
            ATTENTION: [attention.layer for attention in self.anatomy.attentions],
        }.get(site, self.anatomy.layout.layer_numbers)
        if KINDS[kind].encoders and kind != HEADS:
            numbers = [numbers[index] for index in self.encoding(kind).indices]
        return [number for number, size in zip(numbers, self.sizes(kind), strict=True) for _ in range(size)]

    def arbitrary_sign(self, kind: str) -> bool:
        """Whether the sign of a unit is arbitrary: of a gated or rotated neuron, or a direction; not of a norm."""
        gated = kind == NEURONS and any(layer.gated for layer in self.anatomy.layout.layers)
        rotated = KINDS[kind].rotated and self.transform is not None
        return not KINDS[kind].signed or gated or rotated

    def encoding(self, kind: str) -> Encoding:
        """The encoding of a kind of units, made once. Raises ModelError for one that does not fit the model."""
        if kind not in self.encodings:
            self.encodings[kind] = self.make_encoding(kind, KINDS[kind])
        return self.encodings[kind]

    def make_encoding(self, name: str, kind: UnitKind) -> Encoding:
        """A new encoding of a kind of units. Raises ModelError for one that does not fit the model."""
        modules, layers = list(load(kind.encoders)(self.view)), self.site_sizes(kind.site)
        bad = [type(module).__name__ for module in modules if not isinstance(module, nn.Module | None)]
        if bad or len(modules) != len(layers):
            raise ModelError(
                f"units {name!r}: {len(modules)} encoders{f', of them a {bad[0]}' if bad else ''}, for the "
                f"{len(layers)} layers of the {kind.site} site; return a torch module for each layer, or None"
            )
        return Encoding(kind.site, modules, self._encoded_sizes(modules, layers))

    def _encoded_sizes(self, modules: Sequence[nn.Module | None], layers: Sequence[int]) -> list[int]:
        """The numbers of units that modules make of one token of zeros each."""
        made = [(module, width) for module, width in zip(modules, layers, strict=True) if module is not None]
        for module, _ in made:
            module.eval().requires_grad_(False).to(self.model.device)
        return [
            module(torch.zeros(1, width, dtype=self.dtype, device=self.model.device)).shape[1] for module, width in made
        ]

    def encodings_at(self, sites: Collection[str]) -> dict[str, Encoding]:
        """The encodings of those of the sites that are computed from others."""
        return {site: self.encoding(site) for site in sites if site in KINDS and KINDS[site].encoders}

    def site_of(self, kind: str) -> str:
        """The site at which the units of a kind are received."""
        if KINDS[kind].encoders:
            return kind
        return self.site if kind == NEURONS else KINDS[kind].site

    def observe(self, batch: Batch, kinds: Collection[str] = KINDS, also: Sequence[Consumer] = ()) -> dict[str, Tensor]:
        """The units of these kinds at the tokens that are compared, [token, unit], layers side by side.

        The same pass feeds the consumers in ``also``. Raises ModelError if a value is not finite.
        """
        units = BatchUnits(self, kinds)
        consumers = [units, *also]
        encodings = self.encodings_at({site for consumer in consumers for site in consumer.sites})
        layout, attentions = self.anatomy.layout, self.anatomy.attentions
        run_pass(self.model, layout, [batch], consumers, attentions=attentions, encodings=encodings)
        if bad := [kind for kind, found in units.units.items() if not bool(found.sum().isfinite())]:
            raise ModelError(f"activations of {', '.join(bad)} are not finite; try --unineuron-dtype float32")
        return units.units


class BatchUnits(Consumer):
    """Copies the units of a model at the tokens that are compared: ``units`` by kind, [token, unit]."""

    def __init__(self, model: ComparedModel, kinds: Collection[str]) -> None:
        self._model = model
        self._sizes = {kind: model.sizes(kind) for kind in kinds}
        self._ends = {kind: list(accumulate(sizes)) for kind, sizes in self._sizes.items()}
        self._kind_at = {model.site_of(kind): kind for kind in kinds}
        self.sites = frozenset(self._kind_at)
        self.units: dict[str, Tensor] = {}

    def start_batch(self, batch: Batch) -> None:
        """Allocate the units of a batch in one piece: joining layers afterwards would cost as much as copying them."""
        compared, device = batch.comparison_mask.flatten(), self._model.model.device
        self._attention_mask = batch.attention_mask
        self._tokens = None if bool(compared.all()) else compared.to(device)
        tokens = int(compared.sum())
        # All later steps read unit by unit, so the values of a unit lie one after the other.
        self._columns = {
            kind: torch.empty(sum(sizes), tokens, device=device, dtype=self._model.dtype)
            for kind, sizes in self._sizes.items()
            if sizes
        }
        self.units = {kind: columns.T for kind, columns in self._columns.items()}

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        """Copy the units of one layer."""
        kind, transform = self._kind_at[site], self._model.transform
        units = self._compared(self._centred(values) if KINDS[kind].centred else values)
        if transform is not None and KINDS[kind].rotated:
            units = transform(site, index, units.to(self._model.dtype))
        self._copy(kind, index, units)

    def _centred(self, values: Tensor) -> Tensor:
        """The units of all tokens without their mean over the rows of the batch at every position, [token, unit].

        A head that attends to everything writes less the more there is, so norms follow the position in any model.
        The mean takes as much from covariances as from variances. A batch of one row says nothing about such units.
        """
        by_row = values.view(*self._attention_mask.shape, -1)  # [row, position, unit]
        mask = self._attention_mask.to(values.device, values.dtype)[..., None]  # [row, position, 1]
        mean = (by_row * mask).sum(dim=0) / mask.sum(dim=0).clamp_min(1)
        return by_row - mean

    def _compared(self, values: Tensor) -> Tensor:
        """The tokens that are compared, [token, unit], of [row, position, unit] or [row · position, unit]."""
        flat = values.reshape(-1, values.shape[-1])
        return flat if self._tokens is None else flat[self._tokens.to(flat.device)]

    def _copy(self, kind: str, index: int, units: Tensor) -> None:
        if kind in self._columns:
            stop = self._ends[kind][index]
            self._columns[kind][stop - units.shape[1] : stop] = units.T
