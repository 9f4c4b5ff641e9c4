"""The table of what each fixture reads, from which controls, texts, comparisons and provenance are derived.

The fixtures that an item asks for, directly or through other fixtures, determine what the item reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_unineuron import controls
from pytest_unineuron.statistics import EXTREMES, POST, PRE, RESIDUAL, UP

if TYPE_CHECKING:
    from collections.abc import Iterable

ITEM, REFERENCE, ANY = "the item's corpus", "the reference corpus", "any corpus"
WORDS, PUBLIC = "number words", "public texts"
"""The text that a fixture reads."""
NEURONS = (PRE, RESIDUAL)
"""The sites whose statistics trials on neurons read. Post-activations take another pass when a trial asks for them."""


@dataclass(frozen=True)
class Reads:
    """The inputs of a fixture besides weights.

    ``inputs`` are the inputs of a trial besides weights, as in ``controls``, which determine its control arms.
    ``sites`` are those whose statistics are needed. ``published`` asks for a table of the paper, and ``runs`` for runs
    of the model over a small part of the text.
    """

    inputs: tuple[str, ...] = ()
    text: str = ""
    sites: tuple[str, ...] = ()
    published: bool = False
    runs: bool = False

    @property
    def compares_seeds(self) -> bool:
        """Whether the fixture compares the model with further seeds."""
        return controls.SEEDS in self.inputs


ACTIVATIONS, SEEDS, LABELLED = (controls.ACTIVATIONS,), (controls.ACTIVATIONS, controls.SEEDS), (controls.LABELLED,)
CORPUS = "unineuron_corpus"
"""The fixture that makes one item per corpus."""
VERIFIED = "unineuron_verified"
"""The fixture of a test that is no trial and runs once per model."""

FIXTURES: dict[str, Reads] = {
    CORPUS: Reads(text=ITEM),
    "unineuron_token_counts": Reads(text=ITEM),
    "unineuron_neurons": Reads(ACTIVATIONS, ITEM, NEURONS),
    "unineuron_reference_neurons": Reads(ACTIVATIONS, REFERENCE, NEURONS),
    "unineuron_sweeps": Reads(ACTIVATIONS, ANY, NEURONS),
    "unineuron_up": Reads(ACTIVATIONS, ITEM, (UP,)),
    "unineuron_extremes": Reads(ACTIVATIONS, ITEM, (EXTREMES,)),
    "unineuron_runs": Reads(text=ITEM, runs=True),
    "unineuron_reference_runs": Reads(text=REFERENCE, runs=True),
    "unineuron_attention": Reads(text=ITEM, runs=True),
    "unineuron_public_attention": Reads(text=PUBLIC, runs=True),
    "unineuron_patterns": Reads((controls.SEEDS,), ITEM, runs=True),
    "unineuron_public_patterns": Reads((controls.SEEDS,), PUBLIC, runs=True),
    "unineuron_number_words": Reads(ACTIVATIONS, WORDS, (POST,)),
    "unineuron_public_texts": Reads(ACTIVATIONS, PUBLIC, (*NEURONS, POST)),
    "unineuron_universality": Reads(SEEDS, ITEM),
    "unineuron_reference_universality": Reads(SEEDS, REFERENCE),
    "unineuron_comparisons": Reads(SEEDS, ANY),
    "unineuron_relabelled": Reads(LABELLED),
    "unineuron_published_table": Reads((*LABELLED, controls.PUBLISHED), published=True),
    "unineuron_lab": Reads(text=ANY),
}
"""The inputs of fixtures, by name. Those that are not listed read weights alone, or nothing."""


def reads_of(fixtures: Iterable[str]) -> list[Reads]:
    """Return what an item reads that asks for these fixtures."""
    return [FIXTURES[name] for name in fixtures if name in FIXTURES]


def inputs_of(fixtures: Iterable[str]) -> set[str]:
    """Return the inputs besides weights, as in ``controls``."""
    return {name for reads in reads_of(fixtures) for name in reads.inputs}


def asks_for_published(fixtures: Iterable[str]) -> bool:
    """Whether an item reads the neurons that the paper published."""
    return any(reads.published for reads in reads_of(fixtures))


def compares_seeds(fixtures: Iterable[str]) -> bool:
    """Whether an item compares its model with further seeds."""
    return any(reads.compares_seeds for reads in reads_of(fixtures))


def reads_any_text(fixtures: Iterable[str]) -> bool:
    """Whether an item may read any corpus of the run."""
    return any(reads.text == ANY for reads in reads_of(fixtures))


def broken_fixture(reason: str) -> BaseException:
    """Return the error of a fixture that could not be made: as by ``pytest.fail``, without a traceback."""
    error: BaseException = pytest.fail.Exception(reason, pytrace=False)
    vars(error)["broken_fixture"] = True
    return error


def is_broken_fixture(error: BaseException) -> bool:
    """Whether an error is that of a fixture, which a body may ask for while it runs."""
    return vars(error).get("broken_fixture", False) is True
