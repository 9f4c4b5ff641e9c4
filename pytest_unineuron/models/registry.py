"""The registry of models: their further training seeds, whether the paper studied them, and its tables of them.

A row of the table names models by a regular expression that has to match the whole name without a revision, in
capitals or not. Nano models are added to it from the recipes that they come with.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron import zoo
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.extend.table import Table
from pytest_unineuron.models.loading.source import Source
from pytest_unineuron.models.loading.weight_samples import COPIED, samples_of_files, shapes_in_files, share_same
from pytest_unineuron.system.paths import cached_hub_id

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from pytest_unineuron.models.loading.weight_samples import Shape

UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)
"""The errors of damaged weight files, which are for the loader to report."""
PUBLISHED_REVISIONS = (None, "main", "checkpoint-400000", "step143000")
"""The names of the revision that tables were published of: the last step of GPT2 and of Pythia, and the default."""
MAX_HUB_SEEDS = 2
"""The largest number of seeds of the hub that are used without being asked for: each has to be downloaded."""


@dataclass(frozen=True)
class Family:
    """Facts about all models whose name matches ``names``; an empty fact is none.

    ``seeds`` are models that differ in their training seed and in nothing else, in which ``{0}`` stands for the first
    group of the pattern. ``studied`` says which models of the paper these are, ``table`` is the folder of their
    published neurons.
    """

    names: str
    seeds: tuple[str, ...] = ()
    studied: str = ""
    table: str = ""


def _pythia_seeds(name: str, numbers: range) -> tuple[str, ...]:
    # The branch `main` of several of these holds no weights, so the last step is named.
    return tuple(f"EleutherAI/{name}{number}@step143000" for number in numbers)


BUILT_IN = (
    Family("stanford-crfm/alias-gpt2-small-x21", table="stanford-gpt2-small-a"),
    Family("stanford-crfm/arwen-gpt2-medium-x21", table="stanford-gpt2-medium-a"),
    Family("EleutherAI/pythia-160m", table="pythia-160m"),
    Family(
        r"stanford-crfm/.*-gpt2-small-.*",
        seeds=(
            "stanford-crfm/alias-gpt2-small-x21",
            "stanford-crfm/battlestar-gpt2-small-x49",
            "stanford-crfm/caprica-gpt2-small-x81",
            "stanford-crfm/darkmatter-gpt2-small-x343",
            "stanford-crfm/expanse-gpt2-small-x777",
        ),
        studied="GPT2-small of the paper (Gurnee et al. 2024, appendix A)",
    ),
    Family(
        r"stanford-crfm/.*-gpt2-medium-.*",
        seeds=(
            "stanford-crfm/arwen-gpt2-medium-x21",
            "stanford-crfm/beren-gpt2-medium-x49",
            "stanford-crfm/celebrimbor-gpt2-medium-x81",
            "stanford-crfm/durin-gpt2-medium-x343",
            "stanford-crfm/eowyn-gpt2-medium-x777",
        ),
        studied="GPT2-medium of the paper (Gurnee et al. 2024, appendix A)",
    ),
    Family(r"EleutherAI/pythia-160m.*", studied="Pythia-160m of the paper (Gurnee et al. 2024, appendix A)"),
    # The same initialisation with the training data in another order, and the reverse.
    Family(r"EleutherAI/pythia-160m-data-seed\d", seeds=_pythia_seeds("pythia-160m-data-seed", range(1, 4))),
    Family(r"EleutherAI/pythia-160m-weight-seed\d", seeds=_pythia_seeds("pythia-160m-weight-seed", range(1, 4))),
    Family(
        r"EleutherAI/pythia-(14m|31m|70m|160m|410m)(?:-seed\d)?",
        seeds=("EleutherAI/pythia-{0}", *_pythia_seeds("pythia-{0}-seed", range(1, 10))),
    ),
    Family(r"google/multiberts-seed_\d+", seeds=tuple(f"google/multiberts-seed_{i}" for i in range(25))),
    Family(r"nano:gpt2-.*", studied="the zoo's stand-in for the paper's GPT-2 models"),
)
FAMILIES = Table("family of models", {family.names: family for family in BUILT_IN})
"""Families by their pattern; others are declared with ``extend.family``."""


def seeds_compared_with(source: Source, asked: Sequence[str]) -> tuple[str, ...]:
    """The seeds a model is compared with, as a user would type them: those ``asked`` for, else the known ones.

    Raises NotApplicable if there are none, or if the model itself is the only one asked for.
    """
    seeds = tuple(spec for spec in asked if spec != source.spec)
    if asked and not seeds:
        raise NotApplicable(f"--unineuron-seed={source.spec} is the model itself; name one of another training seed")
    seeds = seeds or known_seeds(source)
    if not seeds:
        raise NotApplicable(f"no further seeds of {source.label} are known; name some with --unineuron-seed")
    return seeds


def known_seeds(source: Source) -> tuple[str, ...]:
    """The other seeds of a model's family, as a user would type them; empty if none are known.

    All models of the family of a nano model; at most ``MAX_HUB_SEEDS`` of the hub. For an untrained model they are
    the trained seeds of the model whose configuration it has.
    """
    name = source.name
    for family in FAMILIES.values():
        match = re.fullmatch(family.names, name, re.IGNORECASE)
        if match and family.seeds:
            own = name.casefold()
            seeds = [_at_revision(seed.format(*match.groups()), source.revision) for seed in family.seeds]
            return tuple(seed for seed in seeds if seed.partition("@")[0].casefold() != own)[:MAX_HUB_SEEDS]
    return _nano_seeds(source)


def _at_revision(seed: str, revision: str | None) -> str:
    """A seed after as many steps as a model of this revision: at a named one, such as ``step1000``, its own."""
    if revision in PUBLISHED_REVISIONS or re.fullmatch("[0-9a-f]{40}", str(revision)):
        return seed
    return f"{seed.partition('@')[0]}@{revision}"


def reason_not_new(source: Source) -> str:
    """The reason why a model does not count as new: the paper studied it. Empty for a new model.

    An untrained model is always new. A folder in the cache of the hub is the model that it was fetched as. Any other
    model on this machine, unless the zoo names it, is compared by its weights with the studied models that are here
    too: those of the zoo, and those in the cache of the hub. A copy is not recognised where either is not here.
    """
    if what := "" if source.untrained else _studied(source.name):
        return f"not a new model: {what}"
    folder = source.folder or _cached_folder(source)
    if folder is None or source.untrained or source.spec.startswith(zoo.PREFIX):
        return ""
    copied = _copied_model(replace(source, folder=folder))
    return f"not a new model: its weights are those of {copied}, {_studied(copied)}" if copied else ""


def _cached_folder(source: Source) -> Path | None:
    """The folder of a model of the hub in its cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(source.hub, "config.json", revision=source.revision)
    except ValueError:  # no model of the hub can have this name, which is for the loader to report
        return None
    return Path(found).parent if isinstance(found, str) else None


def _studied(name: str) -> str:
    """Which of the paper's models a name stands for; empty for one that the paper did not study."""
    return next((family.studied for family in _families_of(name) if family.studied), "")


def _local_studied() -> Iterator[tuple[str, Source]]:
    """The studied models that are on this machine, by name."""
    from huggingface_hub.constants import HF_HUB_CACHE

    nano = {zoo.PREFIX + name: folder for name, folder in zoo.folders().items()}
    snapshots = sorted(Path(HF_HUB_CACHE).glob("models--*/snapshots/*"))
    for name, folder in [*nano.items(), *((cached_hub_id(folder), folder) for folder in snapshots)]:
        if _studied(name):
            yield name, Source(name, name, folder=folder)


def _copied_model(source: Source) -> str:
    """The studied model on this machine whose weights a model has; empty if there is none."""
    try:
        shapes = shapes_in_files(source)  # once: a GGUF file takes seconds to open
    except UNREADABLE:
        return ""
    return next((name for name, other in _local_studied() if _is_copy(source, shapes, other)), "")


def _is_copy(source: Source, shapes: Counter[Shape], other: Source) -> bool:
    """Whether most matrices of a model are those of another one. Values are read where most ``shapes`` agree."""
    try:
        expected = shapes_in_files(other)
        if not expected or 2 * (expected & shapes).total() < expected.total():
            return False
        return share_same(samples_of_files(other), samples_of_files(source)) > COPIED
    except UNREADABLE:
        return False


def published_table(source: Source) -> str:
    """The name of the paper's table of a model; empty if it has none, as earlier steps of its training do.

    A local folder may bear that name itself.
    """
    if source.untrained or source.revision not in PUBLISHED_REVISIONS:
        return ""
    known = next((family.table for family in _families_of(source.name) if family.table), "")
    return known or (source.folder.resolve().name if source.folder else "")


def _families_of(name: str) -> list[Family]:
    return [family for family in FAMILIES.values() if re.fullmatch(family.names, name, re.IGNORECASE)]


def _nano_seeds(source: Source) -> tuple[str, ...]:
    folders = zoo.folders()
    own = next((name for name, folder in folders.items() if folder == source.folder), None)
    if own is None:
        return ()
    families = {name: _nano_family(folder) for name, folder in folders.items()}
    return tuple(zoo.PREFIX + name for name in folders if name != own and families[name] == families[own])


def _nano_family(folder: Path) -> str:
    recipe = folder / "recipe.json"
    return str(json.loads(recipe.read_text(encoding="utf-8"))["family"]) if recipe.exists() else folder.name
