"""What an item's result rests on: its source, its models and texts by content, and every setting that counts."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_unineuron.cache.digests import Digests
from pytest_unineuron.corpora.find import find
from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.evidence.collector import versions
from pytest_unineuron.evidence.strict_json import digest
from pytest_unineuron.models.loading.identity import identity
from pytest_unineuron.models.loading.source import parse
from pytest_unineuron.models.registry import compared
from pytest_unineuron.options import MEASURING
from pytest_unineuron.plugin.collection import COMPARES, CORPUS, PLANNED, READS

if TYPE_CHECKING:
    import pytest

    from pytest_unineuron.plugin.run import Session


LAB = "unineuron_lab"
"""The fixture that hands out everything."""


class Provenance:
    """Digests of everything the items of a session are made from, each found once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._model = cache(lambda spec: identity(parse(spec), Digests(session.cache_folder)))
        self._corpus = cache(lambda spec: find(spec, field=session.settings.text_field).fingerprint)
        settings = session.settings.as_dict()
        self._run = {
            "settings": {name: settings[name] for name in (*MEASURING, "device", "batch")},
            "versions": versions(),
        }

    def of(self, item: pytest.Item) -> dict[str, dict[str, str]]:
        """The models and corpora an item rests on, with a digest each; empty if they cannot all be told."""
        session, case = self._session, item.stash[PLANNED].case
        fixtures = getattr(item, "fixturenames", ())
        subject = session.models[case.model]
        models, corpora = {case.model: subject.spec}, {}
        if COMPARES in fixtures:
            with suppress(NotApplicable):  # nothing to compare with
                models |= {session.label(spec): spec for spec in compared(subject, session.settings.seed)}
        reads = CORPUS in fixtures or any(name in fixtures for name in READS)
        known = {session.reference: session.settings.reference, **session.new_data}
        if LAB in getattr(getattr(item, "_fixtureinfo", None), "argnames", ()):
            corpora = known  # it may read any of them
        elif reads:
            corpora = {label: known[label] for label in (session.reference, case.corpus) if label}
        try:
            found = {
                "models": {label: self._model(spec) for label, spec in models.items()},
                "corpora": {label: self._corpus(spec) for label, spec in corpora.items()},
            }
        except (UnineuronError, OSError):
            return {}  # whoever loads it says what is wrong
        with suppress(UnineuronError, OSError):  # a fixture can be asked for by name, at run time
            found["corpora"].setdefault(session.reference, self._corpus(session.settings.reference))
        return found

    def key(self, item: pytest.Item, made_from: dict[str, Any]) -> str:
        """A digest of all that an item's result depends on; empty where that cannot be told."""
        if not made_from or self._session.settings.findings:
            return ""
        planned = item.stash[PLANNED]
        return digest({**planned.as_dict(), "line": 0, "made_from": made_from, **self._run})
