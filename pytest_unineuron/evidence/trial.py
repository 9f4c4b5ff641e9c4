"""A trial as its marker declares it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKER_ARGUMENTS = ("trial", "primary", "controls", "source", "claim")
"""What a marker may say: ``@pytest.mark.gt2(trial="heavy_tails", source="…", controls=["untrained"])``."""


@dataclass(frozen=True)
class Trial:
    """One claim that can come out false.

    ``id`` is stable and is what baselines know it by. ``primary`` means that its criterion stands or falls
    with it. ``controls`` names the arms on which the claim must not hold; None leaves them to the run.
    """

    id: str
    criterion: str
    claim: str
    source: str
    primary: bool = False
    controls: tuple[str, ...] | None = None

    @classmethod
    def declared(cls, criterion: str, function: str, docstring: str | None, said: Mapping[str, Any]) -> Trial:
        """The trial that the marker of ``criterion`` declares on a function.

        Raises TrialError for a word the marker does not know, for a control list that is not a list of names,
        and for a trial without a source: a number nobody can trace is not evidence.
        """
        if unknown := set(said) - set(MARKER_ARGUMENTS):
            raise TrialError(
                f"{function}: marker {criterion.lower()} does not know {', '.join(sorted(unknown))}; "
                f"it takes {', '.join(MARKER_ARGUMENTS)}"
            )
        controls = said.get("controls")
        if isinstance(controls, str) or not all(isinstance(c, str) for c in controls or ()):
            raise TrialError(f"{function}: controls={controls!r} should be a list of names, such as ['untrained']")
        source = said.get("source", "")
        if not source:
            raise TrialError(f"{function}: say where the claim comes from: {criterion.lower()}(source='…')")
        return cls(
            id=said.get("trial", function.removeprefix("test_")),
            criterion=criterion,
            claim=said.get("claim") or _first_line(docstring) or function,
            source=source,
            primary=bool(said.get("primary", False)),
            controls=None if controls is None else tuple(controls),
        )

    def as_dict(self) -> dict[str, Any]:
        """The declaration as it is stored beside the results."""
        return {**asdict(self), "controls": None if self.controls is None else list(self.controls)}


def _first_line(docstring: str | None) -> str:
    lines = [line.strip() for line in (docstring or "").splitlines() if line.strip()]
    return lines[0] if lines else ""
