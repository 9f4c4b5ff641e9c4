"""What a model's units do on a batch, of every kind that can be compared between models."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.capture import caught
from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.discovery.matrix import module_matrix
from pytest_unineuron.statistics import POST, RESIDUAL
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, KINDS, NEURONS, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.activations.sweep import Sweeper
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.discovery.attention import Attention

__all__ = ["DIMENSIONS", "HEADS", "KINDS", "NEURONS", "VALUES", "Member", "Seen"]


@dataclass(eq=False)
class Member:
    """One of the models that are compared. ``change`` makes other units of a layer's units, as a rotation does.

    ``site`` is where neurons are compared, before or after the activation function.
    """

    model: Any
    anatomy: Anatomy
    change: Callable[[str, int, Tensor], Tensor] | None = None
    site: str = POST
    _writes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of what is observed: float64 of a float64 model, float32 of all others."""
        return torch.float64 if self.model.dtype == torch.float64 else torch.float32

    def sizes(self, kind: str) -> list[int]:
        """How many units there are of a kind, by layer."""
        if kind == NEURONS:
            return [layer.width for layer in self.anatomy.layout.layers]
        if kind == DIMENSIONS:
            return [self.anatomy.middle_width] if self.anatomy.middle_width else []
        return [a.heads * (a.dimension if kind == VALUES else 1) for a in self.anatomy.attentions]

    @property
    def units(self) -> int:
        """How many units there are of all kinds."""
        return sum(sum(self.sizes(kind)) for kind in KINDS)

    def layers(self, kind: str) -> list[int]:
        """The layer of every unit of a kind."""
        named = {
            NEURONS: self.anatomy.layout.layer_numbers,
            DIMENSIONS: [0] if self.anatomy.middle_width else [],
        }.get(kind, [a.layer for a in self.anatomy.attentions])
        return [layer for layer, size in zip(named, self.sizes(kind), strict=True) for _ in range(size)]

    def observe(self, batch: Batch, kinds: Sequence[str] = KINDS, sweeper: Sweeper | None = None) -> dict[str, Tensor]:
        """The units of these kinds at the tokens looked at, [token, unit], layers side by side.

        A ``sweeper`` gathers its statistics from the same pass. Raises ModelError if a value is not finite.
        """
        seen, of_site = Seen(self, batch, kinds), {self.site: NEURONS, RESIDUAL: DIMENSIONS}
        if sweeper:
            sweeper.start(batch)

        def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
            if sweeper:
                sweeper.receive(site, index, values, tokens)
            kind = of_site.get(site, "")
            if kind in kinds:
                units = seen.chosen(values)
                seen.take(kind, index, self.change(site, index, units.to(self.dtype)) if self.change else units)

        reads = [
            (a.out, self._heads(index, a, seen, batch.attention_mask))
            for index, a in enumerate(self.anatomy.attentions)
            if VALUES in kinds or HEADS in kinds
        ]
        stream = DIMENSIONS in kinds or (sweeper is not None and RESIDUAL in sweeper.sites)
        with caught(self.model, self.anatomy.layout, receive, stream=stream, reads=reads) as capture:
            capture.forward(batch.ids, batch.attention_mask)
        if bad := [kind for kind, units in seen.units.items() if not bool(units.sum().isfinite())]:
            raise ModelError(f"activations of {', '.join(bad)} are not finite; try --unineuron-dtype float32")
        return seen.units

    def _module(self, path: str) -> Any:
        return self.model.get_submodule(path)

    def _heads(self, index: int, attention: Attention, seen: Seen, attention_mask: Tensor) -> Callable[[Tensor], None]:
        """Keeps a layer's head values, and the norm of what each head writes: ‖W_O z‖ from z and W_OᵀW_O.

        A head that looks at everything writes less the more there is, so norms follow the position in any
        model. The mean over the rows of the batch is taken off at every position, which takes as much from
        covariances as from variances. A batch of one row says nothing about heads.
        """
        if attention.out not in self._writes:
            weight = module_matrix(self._module(attention.out), attention.heads * attention.dimension).weight.to(
                self.dtype
            )
            blocks = weight.reshape(weight.shape[0], attention.heads, attention.dimension)
            self._writes[attention.out] = torch.einsum("whi,whj->hij", blocks, blocks)  # [head, value, value]

        def take(values: Tensor) -> None:
            z = values.reshape(-1, attention.heads * attention.dimension).to(self.dtype)  # [row·position, value]
            by_head = z.reshape(-1, attention.heads, attention.dimension)
            squares = torch.einsum("thi,hij,thj->th", by_head, self._writes[attention.out], by_head)
            norms = squares.clamp_min(0).sqrt().view(*attention_mask.shape, attention.heads)  # [row, position, head]
            there = attention_mask.to(z.device, self.dtype)[..., None]  # [row, position, 1]
            usual = (norms * there).sum(dim=0) / there.sum(dim=0).clamp_min(1)
            seen.take(VALUES, index, seen.chosen(z))
            seen.take(HEADS, index, seen.chosen(norms - usual))

        return take


class Seen:
    """What has been seen of a batch: ``units`` by kind, [token, unit], filled layer by layer."""

    def __init__(self, member: Member, batch: Batch, kinds: Sequence[str]) -> None:
        wanted, device = batch.comparison_mask.flatten(), member.model.device
        self._tokens = None if bool(wanted.all()) else wanted.to(device)
        sizes = {kind: member.sizes(kind) for kind in kinds}
        self._ends = {kind: list(accumulate(of)) for kind, of in sizes.items()}
        # In one piece from the start: to join layers afterwards costs as much as to gather them. All that is asked
        # of them later reads unit by unit, so that is how they lie.
        tokens = int(wanted.sum())
        self._held = {
            kind: torch.empty(sum(of), tokens, device=device, dtype=member.dtype) for kind, of in sizes.items() if of
        }
        self.units = {kind: units.T for kind, units in self._held.items()}

    def chosen(self, values: Tensor) -> Tensor:
        """The tokens looked at, [token, unit], of [row, position, unit] or [row · position, unit]."""
        flat = values.reshape(-1, values.shape[-1])
        return flat if self._tokens is None else flat[self._tokens.to(flat.device)]

    def take(self, kind: str, index: int, units: Tensor) -> None:
        """The units of one layer, [token, unit]."""
        if kind not in self.units:
            return
        stop = self._ends[kind][index]
        self._held[kind][stop - units.shape[1] : stop] = units.T
