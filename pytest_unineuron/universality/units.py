"""The units of one model on a batch, of every kind that can be compared between models."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.forward_pass import Consumer, run_pass
from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery.matrix import module_matrix
from pytest_unineuron.statistics import POST, RESIDUAL
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, KINDS, NEURONS, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.discovery.attention import Attention


@dataclass(eq=False)
class ComparedModel:
    """One of the models that are compared.

    ``transform`` makes other units of a layer's units, as a rotation does: (site, layer, [token, unit]) to
    [token, unit]. ``site`` is where neurons are compared, before or after the activation function.
    """

    model: Any
    anatomy: Anatomy
    transform: Callable[[str, int, Tensor], Tensor] | None = None
    site: str = POST
    _write_factors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of observed units: float64 of a float64 model, float32 of all others."""
        return torch.float64 if self.model.dtype == torch.float64 else torch.float32

    def sizes(self, kind: str) -> list[int]:
        """The number of units of a kind, layer by layer."""
        if kind == NEURONS:
            return [layer.width for layer in self.anatomy.layout.layers]
        if kind == DIMENSIONS:
            return [self.anatomy.middle_width] if self.anatomy.middle_width else []
        return [a.heads * (a.dimension if kind == VALUES else 1) for a in self.anatomy.attentions]

    @property
    def n_units(self) -> int:
        """The number of units of all kinds."""
        return sum(sum(self.sizes(kind)) for kind in KINDS)

    def layers(self, kind: str) -> list[int]:
        """The layer number of every unit of a kind."""
        numbers = {
            NEURONS: self.anatomy.layout.layer_numbers,
            DIMENSIONS: [0] if self.anatomy.middle_width else [],
        }.get(kind, [a.layer for a in self.anatomy.attentions])
        return [number for number, size in zip(numbers, self.sizes(kind), strict=True) for _ in range(size)]

    def arbitrary_sign(self, kind: str) -> bool:
        """Whether the sign of a unit is arbitrary: of a gated or rotated neuron, or a direction; not of a norm."""
        if kind == NEURONS:
            return self.transform is not None or any(layer.gated for layer in self.anatomy.layout.layers)
        return kind != HEADS

    def observe(self, batch: Batch, kinds: Sequence[str] = KINDS, also: Sequence[Consumer] = ()) -> dict[str, Tensor]:
        """The units of these kinds at the tokens that are compared, [token, unit], layers side by side.

        The same pass feeds the consumers in ``also``. Raises ModelError if a value is not finite.
        """
        units = BatchUnits(self, kinds)
        run_pass(self.model, self.anatomy.layout, [batch], [units, *also])
        if bad := [kind for kind, found in units.units.items() if not bool(found.sum().isfinite())]:
            raise ModelError(f"activations of {', '.join(bad)} are not finite; try --unineuron-dtype float32")
        return units.units

    def write_factors(self, attention: Attention) -> Tensor:
        """R of W_O = QR of every head, [head, dimension, value]: the norm of what a head writes, ‖W_O z‖, is ‖R z‖."""
        if attention.out not in self._write_factors:
            module = self.model.get_submodule(attention.out)
            weight = module_matrix(module, attention.heads * attention.dimension).weight.to(self.dtype)
            by_head = weight.reshape(weight.shape[0], attention.heads, attention.dimension)
            self._write_factors[attention.out] = torch.linalg.qr(by_head.transpose(0, 1)).R
        return self._write_factors[attention.out]


class BatchUnits(Consumer):
    """Copies the units of a model at the tokens that are compared: ``units`` by kind, [token, unit]."""

    def __init__(self, model: ComparedModel, kinds: Sequence[str]) -> None:
        self._model = model
        self._sizes = {kind: model.sizes(kind) for kind in kinds}
        self._ends = {kind: list(accumulate(sizes)) for kind, sizes in self._sizes.items()}
        self._kind_at = {
            site: kind for site, kind in ((model.site, NEURONS), (RESIDUAL, DIMENSIONS)) if kind in self._sizes
        }
        self.sites = frozenset(self._kind_at)
        self.units: dict[str, Tensor] = {}

    def argument_readers(self) -> Sequence[tuple[str, Callable[[Tensor], None]]]:
        """The inputs of the heads' output projections."""
        if not {VALUES, HEADS} & set(self._sizes):
            return ()
        # Factors of weights are computed now: they run modules, which are recorded during the pass.
        return [
            (attention.out, partial(self._read_heads, index, attention, self._model.write_factors(attention)))
            for index, attention in enumerate(self._model.anatomy.attentions)
        ]

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
        """Copy the neurons of one layer, or the residual stream."""
        units, transform = self._compared(values), self._model.transform
        if transform is not None:
            units = transform(site, index, units.to(self._model.dtype))
        self._copy(self._kind_at[site], index, units)

    def _compared(self, values: Tensor) -> Tensor:
        """The tokens that are compared, [token, unit], of [row, position, unit] or [row · position, unit]."""
        flat = values.reshape(-1, values.shape[-1])
        return flat if self._tokens is None else flat[self._tokens.to(flat.device)]

    def _copy(self, kind: str, index: int, units: Tensor) -> None:
        if kind in self._columns:
            stop = self._ends[kind][index]
            self._columns[kind][stop - units.shape[1] : stop] = units.T

    def _read_heads(self, index: int, attention: Attention, write_factors: Tensor, values: Tensor) -> None:
        """Copy a layer's head values, and the norm of what each head writes.

        A head that attends to everything writes less the more there is, so norms follow the position in any model.
        The mean over the rows of the batch is taken off at every position, which takes as much from covariances as
        from variances. A batch of one row says nothing about heads.
        """
        z = values.reshape(-1, attention.heads * attention.dimension).to(self._model.dtype)  # [row·position, value]
        by_head = z.reshape(-1, attention.heads, attention.dimension)
        written = torch.einsum("hij,thj->thi", write_factors, by_head)
        # In float64, because squares of float32 values may not be float32.
        norms = torch.linalg.vector_norm(written, dim=2, dtype=torch.float64).to(z.dtype)
        norms = norms.view(*self._attention_mask.shape, attention.heads)  # [row, position, head]
        mask = self._attention_mask.to(z.device, self._model.dtype)[..., None]  # [row, position, 1]
        mean = (norms * mask).sum(dim=0) / mask.sum(dim=0).clamp_min(1)
        self._copy(VALUES, index, self._compared(z))
        self._copy(HEADS, index, self._compared(norms - mean))
