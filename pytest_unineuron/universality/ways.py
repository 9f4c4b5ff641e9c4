"""Ways to have activations again for every block of products, and how long each is going to take. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.universality.cost import gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.universality.cost import Block, Task

MEMORY, DISK, AGAIN = "memory", "disk", "again"
"""Where activations are that more than one block needs: kept, spilled, or nowhere, so that they are computed again."""


@dataclass(frozen=True)
class Rates:
    """What this machine was measured to do.

    ``forward`` is in seconds over the whole choosing half; ``write`` and ``read`` are in bytes per second, to the
    disk and from it, and ``free`` are the bytes it has room for.
    """

    forward: float
    write: float
    read: float
    free: float = math.inf


@dataclass(frozen=True)
class Way:
    """One way to have activations again for every block: where those of the subject and of the seeds are.

    ``places`` are memory, disk or again; the subject's first. ``spilled`` is in bytes, ``seconds`` are estimated:
    what it takes beyond the products themselves.
    """

    places: tuple[str, ...]
    blocks: tuple[Block, ...]
    seconds: float
    spilled: int


def ways(task: Task, memory: float, places: Sequence[str], rates: Rates) -> list[Way]:
    """All ways there are, the one that is estimated to be the quickest first.

    ``places`` are those of the seeds before: memory, or disk, or again, which may become disk.
    """
    found = []
    for subject in (AGAIN, DISK, MEMORY):
        held = task.kept(task.subject) if subject == MEMORY else 0
        if held > memory / 4:
            continue
        blocks = tuple(task.blocks(memory - held)) if memory - held >= task.least else ()
        if not blocks:
            continue
        for elsewhere in (AGAIN, DISK) if AGAIN in places else (AGAIN,):
            if len({subject, elsewhere} - {MEMORY}) > 1 and AGAIN in places:
                continue  # what is the cheaper for one model is for another
            way = _way(task, blocks, [subject, *(elsewhere if p == AGAIN else p for p in places)], places, rates)
            if way.spilled <= 0.9 * rates.free:
                found.append(way)
    return sorted(found, key=lambda way: way.seconds)


def _way(task: Task, blocks: tuple[Block, ...], places: Sequence[str], before: Sequence[str], rates: Rates) -> Way:
    needed = [task.needs(block) for block in blocks]
    seconds, spilled, settled = 0.0, 0, []
    for number, (place, sizes) in enumerate(zip(places, (task.subject, *task.seeds), strict=True)):
        uses = [of_block[number] for of_block in needed if of_block[number]]
        there = number > 0 and before[number - 1] == DISK
        if place == DISK and not there and len(uses) < 2:
            place = AGAIN
        settled.append(place)
        if place == AGAIN:
            seconds += len(uses) * rates.forward
        elif place == MEMORY:
            seconds += rates.forward
        else:
            new = 0 if there else task.kept(sizes)
            reads = sum(uses) if there else sum(uses[1:])
            spilled += new
            seconds += (0.0 if there else rates.forward) + new / rates.write
            seconds += task.item * task.choosing * reads / rates.read
    return Way(tuple(settled), blocks, seconds, spilled)


def told(title: str, memory: float, found: Sequence[Way]) -> str:
    """One line on what is about to be done and why."""
    way, others = found[0], found[1:]
    other = next((w for w in others if (w.spilled > 0) != (way.spilled > 0)), None)

    def doing(of: Way) -> str:
        return f"spilling {of.spilled / 1e9:.3g} GB" if of.spilled else "computing them again"

    what = (
        f"spilled to disk, {way.spilled / 1e9:.3g} GB"
        if way.spilled
        else "recomputed"
        if AGAIN in way.places
        else "kept in memory"
    )
    instead = f"; {doing(other)} est. {spoken(other.seconds)}" if other else ""
    return (
        f"{title}: {len(way.blocks)} blocks within {gib(memory)}; activations {what} "
        f"(est. {spoken(way.seconds)}{instead})"
    )


def spoken(seconds: float) -> str:
    """A time in words.

    >>> spoken(0.2), spoken(200), spoken(20_000)
    ('< 1 s', '3 min', '5.6 h')
    """
    if seconds < 1:
        return "< 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
