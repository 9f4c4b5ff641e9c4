"""What was measured before on this machine is taken over, and told of; what is measured now is kept."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_unineuron.activations.ranks import anew
from pytest_unineuron.sources import INSTRUMENTS, own_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_unineuron.activations.cache import Cache
    from pytest_unineuron.activations.ranks import Keep, Ranks
    from pytest_unineuron.corpora.blocks import Blocks
    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.models.load import Loaded
    from pytest_unineuron.options import Settings

Made = TypeVar("Made")
LIBRARIES = ("torch", "transformers", "tokenizers")
"""What models are run with, beside our own instruments."""


class Kept:
    """Results by key, made once per machine. Without a ``cache`` everything is made whenever it is asked for.

    ``note`` hears of every result that was taken over. ``parts`` keeps those of several processes until the whole is
    made, and lets none go before. ``lost`` counts the results that could not be kept.
    """

    def __init__(
        self, cache: Cache | None, parts: Cache | None, note: Callable[[dict[str, Any]], None], ranks: Ranks
    ) -> None:
        self.lost = 0
        self._cache = cache
        self._parts = parts
        self._note = note
        self._ranks = ranks

    def once(
        self, what: str, arm: Arm, corpus: str, key: Callable[[], Mapping[str, Any]], make: Callable[[Keep], Made]
    ) -> Made:
        """The result of ``make``, or ``what`` was kept under the same key by this process or another.

        Where several share the work, ``make`` is given what keeps the part of each, so that another attempt can go
        on from it.
        """
        if self._cache is None or self._parts is None:
            return make(anew)
        cache, named = self._cache, {"what": what, **key()}
        found = self._ranks.agreed(lambda: cache.get(named))
        if found is None:
            with nullcontext() if self._ranks.index else cache.alone(named):
                found = self._ranks.agreed(lambda: cache.get(named))  # another process may have made it meanwhile
                if found is None:
                    return self._made(cache, self._parts, named, make)
        self._note({"kind": "kept", "what": what, "model": arm.model, "corpus": corpus,
                    "control": arm.control, "draw": arm.draw})  # fmt: skip
        kept: Made = found
        return kept

    def _made(self, cache: Cache, parts: Cache, named: Mapping[str, Any], make: Callable[[Keep], Made]) -> Made:
        """A result that is made and kept, and its parts until then."""
        ranks, keys = self._ranks, []

        def part(name: str, of_part: Callable[[], Any]) -> Any:
            """This process's part, which it may have finished in an attempt that was cut short."""
            keys.append({**named, "part": [name, ranks.index, ranks.count]})
            found = parts.get(keys[-1])
            if found is None:
                found = of_part()
                parts.put(keys[-1], found)
            else:
                text = f"part {ranks.index + 1} of {ranks.count} ({name.split()[0]}) was finished before"
                self._note({"kind": "told", "text": text})
            return found

        made = make(part if ranks.count > 1 else anew)
        kept = ranks.index > 0 or cache.put(named, made)
        self.lost += not kept
        if ranks.agreed(lambda: kept):  # until then, the parts are all there is
            for key in keys:
                parts.drop(key)
        return made


class Keys:
    """What results depend on, beyond rounding: content, never names or places."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of(self, arm: Arm, loaded: Loaded, blocks: Blocks, context: int, **more: Any) -> dict[str, Any]:
        """The key of a result on an arm reading ``blocks``; ``more`` is what only some results depend on."""
        settings = self._settings
        return {
            "instruments": own_digest(*INSTRUMENTS),
            "libraries": {name: version(name) for name in LIBRARIES},
            "model": self.model(loaded),
            "control": [arm.control, arm.draw],
            "corpus": blocks.corpus.fingerprint,
            "context": context,
            "tokens": blocks.tokens,
            "dtype": settings.dtype,
            "neurons": settings.neurons,
            **more,
        }

    def model(self, loaded: Loaded) -> list[str]:
        """Digests of a model's files, and of its weights as they were loaded."""
        return [loaded.identity, loaded.digest]
