"""Reports of earlier schemas, as this version would have written them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a report in the present schema. Raises KeyError for a schema that cannot be upgraded.

    The content was checked against its digest, but not against a schema: what does not look as expected is left as it
    is, and the check against the present schema names it.
    """
    while content["schema_version"] < SCHEMA_VERSION:
        content = UPGRADES[content["schema_version"]](content)
    return content


def _from_5(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 5 had no distributions, no tables by layer, and no words for controls from outside."""
    return {**content, "schema_version": 6, "distributions": [], "tables": [], "controls": {}}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {5: _from_5}
"""For every earlier schema that can be read, the function to the next one."""
