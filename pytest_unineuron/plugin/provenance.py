"""The models and corpora that an item's result is made from, each with a digest of its content."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.files_digest import files_digest
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.plugin.assignment import PLANNED
from pytest_unineuron.plugin.fixture_table import reads_any_text, reads_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_unineuron.plugin.run import Run


class Provenance:
    """Digests of the models and corpora of a session, each computed once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._model = cache(lambda spec: files_digest(parse_source(spec), Digests(run.cache_folder)))
        self._corpus = cache(lambda spec: find_corpus(spec, field=run.settings.text_field).fingerprint)

    def of(self, item: pytest.Item) -> dict[str, dict[str, str]]:
        """Return the digests of an item's models and corpora, by label; empty if they cannot all be computed."""
        fixtures = getattr(item, "fixturenames", ())
        try:
            found = {
                "models": {label: self._model(spec) for label, spec in self._models(item, fixtures).items()},
                "corpora": {label: self._corpus(spec) for label, spec in self._corpora(item, fixtures).items()},
            }
        except Exception:  # an extension may raise any
            return {}  # the fixture that loads it reports the error
        with suppress(Exception):  # a trial may ask for a fixture by name at run time
            found["corpora"].setdefault(self._run.reference, self._corpus(self._run.settings.reference))
        return found

    def _models(self, item: pytest.Item, fixtures: Sequence[str]) -> dict[str, str]:
        """The names of the models that an item reads, by label: its own, and its seeds if they are compared."""
        run = self._run
        model = item.stash[PLANNED].case.model
        models = {model: run.models[model].spec}
        if any(reads.compares_seeds for reads in reads_of(fixtures)):
            with suppress(NotApplicable):  # there are no further seeds
                models |= {run.label(spec): spec for spec in seeds_compared_with(run.models[model], run.settings.seed)}
        return models

    def _corpora(self, item: pytest.Item, fixtures: Sequence[str]) -> dict[str, str]:
        """The names of the corpora that an item may read, by label."""
        run = self._run
        if reads_any_text(fixtures):
            return run.corpora
        if not reads_of(fixtures):
            return {}
        return {label: run.corpora[label] for label in (run.reference, item.stash[PLANNED].case.corpus) if label}
