"""What a comparison is going to take, before any of its models is loaded. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.universality import cost
from pytest_unineuron.universality.cost import ITEM, Task
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, NEURONS, VALUES
from pytest_unineuron.universality.ways import AGAIN, MEMORY, ways

if TYPE_CHECKING:
    from pytest_unineuron.models.loading.shape import ModelShape
    from pytest_unineuron.universality.cost import Block, Sizes
    from pytest_unineuron.universality.ways import Rates, Way


def sizes(shape: ModelShape) -> Sizes:
    """The units of a model by kind, layer by layer."""
    return {
        NEURONS: [shape.neurons] * shape.layers,
        DIMENSIONS: [shape.width],
        VALUES: [shape.head_values] * shape.layers,
        HEADS: [shape.heads] * shape.layers,
    }


@dataclass(frozen=True)
class Expected:
    """A model of some shape against seeds of the same, on one text, in a budget of bytes.

    ``tokens`` are read and ``compared`` looked at: half of them where partners are chosen, half where they are
    read. ``positions`` is how many a batch has, where that is not too many for the budget.
    """

    shape: ModelShape
    seeds: int
    tokens: int
    compared: int
    context: int
    memory: float
    positions: int = 1024
    dtype: str = "float32"

    @property
    def task(self) -> Task:
        """The comparison."""
        units, item = sizes(self.shape), ITEM.get(self.dtype, 4)
        positions = cost.at_once(self.positions, cost.units(units), item, self.memory)
        looked = min(positions, -(-positions * self.compared // self.tokens))
        passing = cost.passing(positions, self.shape.width, self.shape.neurons, item)
        half = self.compared // 2
        return Task(units, (units,) * self.seeds, half, self.compared - half, looked, item=item, passing=passing)

    @property
    def held(self) -> tuple[int, int]:
        """Bytes that the seeds keep in memory: of the half that chooses, and of that which reads."""
        task = self.task
        choosing, reading = cost.held(task, task.subject, cost.room_of(self.memory, self.seeds))
        return self.seeds * choosing, self.seeds * reading

    @property
    def working(self) -> float:
        """Bytes that are left for products."""
        return self.memory - sum(self.held)

    @property
    def blocks(self) -> list[Block]:
        """The blocks of products. Raises OptionError if the budget is too small."""
        return self.task.blocks(self.working)

    def ways(self, rates: Rates) -> list[Way]:
        """The ways to have activations for every block, the quickest first."""
        return ways(self.task, self.working, [MEMORY if self.held[0] else AGAIN] * self.seeds, rates)

    @property
    def forward(self) -> int:
        """Operations of one forward pass over the text."""
        return self.tokens * self.shape.forward(self.context)
