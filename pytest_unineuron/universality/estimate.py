"""The cost of a comparison before any of its models is loaded, from their shapes. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_unineuron.models.loading.shape import BYTES_PER_WEIGHT
from pytest_unineuron.options.settings import CPU_POSITIONS
from pytest_unineuron.universality import cost
from pytest_unineuron.universality.blocks import blocks_within
from pytest_unineuron.universality.cost import ComparisonCost
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, NEURONS, VALUES

if TYPE_CHECKING:
    from pytest_unineuron.models.loading.shape import ModelShape
    from pytest_unineuron.universality.blocks import ProductBlock
    from pytest_unineuron.universality.cost import Sizes


def unit_sizes(shape: ModelShape) -> Sizes:
    """The units of a model by kind, layer by layer."""
    return {
        NEURONS: [shape.neurons] * shape.layers,
        DIMENSIONS: [shape.width],
        VALUES: [shape.head_values] * shape.layers,
        HEADS: [shape.heads] * shape.layers,
    }


@dataclass(frozen=True)
class CostEstimate:
    """The cost of comparing a model of some shape with seeds of the same, on one text, in a memory budget in bytes.

    ``tokens`` are read and ``compared`` of them compared: half in the selection split, half in the held-out split.
    ``positions`` is how many a batch has, unless that is too many for the budget.
    """

    shape: ModelShape
    seeds: int
    tokens: int
    compared: int
    context: int
    memory: float
    positions: int = CPU_POSITIONS
    dtype: str = "float32"

    @cached_property
    def cost(self) -> ComparisonCost:
        """The cost of the comparison."""
        units = unit_sizes(self.shape)
        size = 8 if self.dtype == "float64" else 4  # all other precisions are widened to float32
        positions = cost.batch_positions(self.positions, cost.count_units(units), size, self.memory)
        selection = self.compared // 2
        return ComparisonCost(
            units,
            (units,) * self.seeds,
            selection_tokens=selection,
            held_out_tokens=self.compared - selection,
            batch_tokens=min(positions, -(-positions * self.compared // self.tokens)),
            bytes_per_number=size,
            forward_bytes=cost.forward_bytes(positions, self.shape.width, self.shape.neurons, size),
        )

    @cached_property
    def kept_bytes(self) -> tuple[int, int]:
        """Memory of what all seeds keep of the selection and of the held-out split, for further arms."""
        room = cost.seed_room(self.memory, self.seeds)
        selection, held_out = self.cost.kept_bytes(self.cost.subject, room)
        return self.seeds * selection, self.seeds * held_out

    @cached_property
    def blocks(self) -> list[ProductBlock]:
        """The blocks of products. Raises OptionError if the budget is too small."""
        return blocks_within(self.cost, self.memory - sum(self.kept_bytes))

    @property
    def passes(self) -> float:
        """Forward passes over the whole text; the selection split, half of it, is read again for further blocks."""
        again = len(self.blocks) - 1
        if not self.kept_bytes[0]:
            blocks_of_seeds = [{cell.seed for cell in block} for block in self.blocks]
            again += sum(map(len, blocks_of_seeds)) - self.seeds
        return 1 + self.seeds + again / 2

    @property
    def forward_operations(self) -> int:
        """Operations of one forward pass over the text."""
        return self.tokens * self.shape.forward(self.context)

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights of all models."""
        return (1 + self.seeds) * self.shape.weights * BYTES_PER_WEIGHT[self.dtype]

    @property
    def peak_bytes(self) -> int:
        """Memory of everything together, at most."""
        cost, kept = self.cost, sum(self.kept_bytes)
        working = max(cost.working_bytes + cost.product_bytes + cost.layer_bytes, cost.held_out_bytes)
        return int(self.weight_bytes + min(self.memory, kept + working))

    @property
    def operations(self) -> dict[str, int]:
        """Operations by what they are for."""
        found = {
            "forward": int(self.passes * self.forward_operations),
            "product": self.cost.product_operations,
            "within": self.cost.layer_operations,
            "bases": self.cost.basis_operations,
        }
        return {**found, "all": sum(found.values())}

    def as_dict(self) -> dict[str, Any]:
        """All numbers as plain JSON data; operations and bytes."""
        return {
            "shape": asdict(self.shape),
            "seeds": self.seeds,
            "tokens": self.tokens,
            "compared": self.compared,
            "dtype": self.dtype,
            "units": {kind: sum(of_kind) for kind, of_kind in self.cost.subject.items()},
            "forward_passes": self.passes,
            "forward_tokens": int(self.passes * self.tokens),
            "neurons_per_token_and_pair": 2 * sum(self.cost.subject[NEURONS]) ** 2,
            "operations": self.operations,
            "bytes": {
                "weights": self.weight_bytes,
                "budget": int(self.memory),
                "product": self.cost.product_bytes,
                "within": self.cost.layer_bytes,
                "working": self.cost.working_bytes,
                "least": self.cost.least_bytes,
                "kept": sum(self.kept_bytes),
                "cache": self.cost.cache_bytes,
                "peak": self.peak_bytes,
            },
            "blocks": len(self.blocks),
            "activations": "kept in memory" if self.kept_bytes[0] else "recomputed for each block",
        }
