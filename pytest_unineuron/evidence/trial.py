"""A trial as its marker declares it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKER_ARGUMENTS = ("trial", "primary", "controls", "source", "claim")
"""The arguments of a marker: ``@pytest.mark.gt2(trial="heavy_tails", source="…", controls=["untrained"])``."""


@dataclass(frozen=True)
class Trial:
    """A claim that can turn out false.

    ``id`` is the stable name by which baselines know the trial. A ``primary`` trial decides its criterion under the
    policy "primary". ``controls`` names the arms on which the claim must not hold; None means the default controls.
    """

    id: str
    criterion: str
    claim: str
    source: str
    primary: bool = False
    controls: tuple[str, ...] | None = None
    direct: bool = False

    @classmethod
    def declared(cls, criterion: str, function: str, docstring: str | None, arguments: Mapping[str, Any]) -> Trial:
        """The trial that the marker of ``criterion``, with these arguments, declares on a function.

        Raises TrialError for an unknown argument, for controls that are not a list of names, and for a trial without a
        source: a claim that cannot be traced is not evidence.
        """
        marker = criterion.lower()
        if unknown := set(arguments) - set(MARKER_ARGUMENTS):
            raise TrialError(
                f"{function}: marker {marker} does not know {', '.join(sorted(unknown))}; "
                f"it takes {', '.join(MARKER_ARGUMENTS)}"
            )
        controls = arguments.get("controls")
        if isinstance(controls, str) or not all(isinstance(c, str) for c in controls or ()):
            raise TrialError(f"{function}: controls={controls!r} should be a list of names, such as ['untrained']")
        if not arguments.get("source"):
            raise TrialError(f"{function}: say where the claim comes from: {marker}(source='…')")
        for name in ("source", "claim", "trial"):
            if not isinstance(found := arguments.get(name, "-"), str) or not found:
                raise TrialError(f"{function}: {name}={found!r} should be a text")
        if not isinstance(primary := arguments.get("primary", False), bool):
            raise TrialError(f"{function}: primary={primary!r} should be True or False")
        return cls(
            id=arguments.get("trial", function.removeprefix("test_")),
            criterion=criterion,
            claim=arguments.get("claim") or _first_doc_line(docstring) or function,
            source=arguments["source"],
            primary=primary,
            controls=None if controls is None else tuple(dict.fromkeys(controls)),
        )

    def as_dict(self) -> dict[str, Any]:
        """The declaration as plain JSON data, as it is stored with the results."""
        return {**asdict(self), "controls": None if self.controls is None else list(self.controls)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Trial:
        """The trial from data that holds, among others, what ``as_dict`` returned."""
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "controls": None if data["controls"] is None else tuple(data["controls"])})


def _first_doc_line(docstring: str | None) -> str:
    lines = [line.strip() for line in (docstring or "").splitlines() if line.strip()]
    return lines[0] if lines else ""
