"""The events of a lab that the report needs, and its progress bars and announcements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_unineuron.lab.arm import Arm, Request
    from pytest_unineuron.universality.match import Progress


class Reporting:
    """Collects events in order: models loaded, corpora read, forward passes, results found in the cache.

    ``progress`` makes a progress bar from a title; ``announce`` prints one line before something that takes long.
    """

    def __init__(
        self,
        progress: Callable[..., Progress] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.announce = announce
        self._progress = progress

    def note(self, event: dict[str, Any]) -> None:
        """Add an event, a dictionary of JSON data."""
        self.events.append(event)

    def note_text(self, text: str) -> None:
        """Add a sentence about the cache."""
        self.note({"kind": "cache_note", "text": text})

    def note_pass(self, arm: Arm, corpus: str, what: str) -> None:
        """Add a forward pass of an arm over a corpus; ``what`` is computed in it."""
        self.note({"kind": "forward_pass", "what": what, **_place(arm, corpus)})

    def note_hit(self, job: Request) -> None:
        """Add a result that was found in the cache."""
        self.note({"kind": "cache_hit", "what": job.kind, **_place(job.arm, job.corpus)})

    def bar(self, arm: Arm, what: str, *, part: bool = False) -> Progress | None:
        """Return a progress bar over the batches of a pass, or None where none is shown.

        One over a small ``part`` of a text is not counted among the passes of the run.
        """
        return self._progress(f"{arm} on {what}", part=part) if self._progress else None


def _place(arm: Arm, corpus: str) -> dict[str, Any]:
    return {"model": arm.model, "corpus": corpus, "control": arm.control, "draw": arm.draw}
