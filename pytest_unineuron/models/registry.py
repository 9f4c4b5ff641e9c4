"""What belongs together: models that differ in their training seed and in nothing else.

A row is a pattern of names (a regular expression that matches a whole hub id) and the ids of all seeds, in
which ``{0}`` … stand for the groups of the pattern.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pytest_unineuron import zoo
from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.models.loading.source import Source

AT_MOST = 2
"""Seeds of the hub that are used without being asked for: each has to be fetched."""

SMALL = "alias-gpt2-small-x21 battlestar-gpt2-small-x49 caprica-gpt2-small-x81 darkmatter-gpt2-small-x343 expanse-gpt2-small-x777"  # noqa: E501
MEDIUM = "arwen-gpt2-medium-x21 beren-gpt2-medium-x49 celebrimbor-gpt2-medium-x81 durin-gpt2-medium-x343 eowyn-gpt2-medium-x777"  # noqa: E501

FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"stanford-crfm/\w+-gpt2-small-x\d+", tuple(f"stanford-crfm/{name}" for name in SMALL.split())),
    (r"stanford-crfm/\w+-gpt2-medium-x\d+", tuple(f"stanford-crfm/{name}" for name in MEDIUM.split())),
    # The same initialisation in another order, and another initialisation in the same order.
    (
        r"EleutherAI/pythia-160m-data-seed\d",
        tuple(f"EleutherAI/pythia-160m-data-seed{i}@step143000" for i in (1, 2, 3)),
    ),
    (
        r"EleutherAI/pythia-160m-weight-seed\d",
        tuple(f"EleutherAI/pythia-160m-weight-seed{i}@step143000" for i in (1, 2, 3)),
    ),
    # `main` of several of these holds no weights, so the last step is named.
    (
        r"EleutherAI/pythia-(14m|31m|70m|160m|410m)(?:-seed\d)?",
        ("EleutherAI/pythia-{0}", *(f"EleutherAI/pythia-{{0}}-seed{i}@step143000" for i in range(1, 10))),
    ),
    (r"google/multiberts-seed_\d+", tuple(f"google/multiberts-seed_{i}" for i in range(25))),
)


def compared(source: Source, asked: Sequence[str]) -> tuple[str, ...]:
    """The seeds a model is compared with, as they would be typed: those asked for, else what the registry knows.

    Raises NotApplicable if there are none.
    """
    named = tuple(spec for spec in asked if spec != source.spec) or further(source)
    if not named:
        raise NotApplicable(f"no further seeds of {source.spec} are known; name some with --unineuron-seed")
    return named


def further(source: Source) -> tuple[str, ...]:
    """The other seeds of a model's family, by the names a user would type; empty if none are known.

    All siblings of a nano model; at most ``AT_MOST`` of the hub. The seeds of an untrained model are those of
    the model it is shaped like: trained ones.
    """
    if source.folder is not None:
        return _nano(source)
    for pattern, members in FAMILIES:
        if match := re.fullmatch(pattern, source.hub):
            names = [member.format(*match.groups()) for member in members]
            return tuple(name for name in names if name.partition("@")[0] != source.hub)[:AT_MOST]
    return ()


def _nano(source: Source) -> tuple[str, ...]:
    folders = zoo.folders()
    own = next((name for name, folder in folders.items() if folder == source.folder), None)
    if own is None:
        return ()
    families = {name: _family(name) for name in folders}
    return tuple(zoo.PREFIX + name for name in folders if name != own and families[name] == families[own])


def _family(name: str) -> str:
    recipe = zoo.folders()[name] / "recipe.json"
    return str(json.loads(recipe.read_text(encoding="utf-8"))["family"]) if recipe.exists() else name
