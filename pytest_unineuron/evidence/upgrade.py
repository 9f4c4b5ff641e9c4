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


def _from_3(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 said of each result whether it was measured by an earlier attempt; these are no longer taken over."""
    cache, settings = content.get("cache"), content.get("settings")
    changed: dict[str, Any] = {"schema_version": 4}
    if isinstance(cache, dict):
        names = {"taken_over": "hits", "told": "notes"}
        changed["cache"] = {names.get(name, name): value for name, value in cache.items()}
    if isinstance(settings, dict):
        changed["settings"] = {name: value for name, value in settings.items() if name != "resume"}
    return {**content, **changed, "trials": _without_resumed(content.get("trials"))}


def _without_resumed(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_resumed(value) for key, value in data.items() if key != "resumed"}
    return [_without_resumed(each) for each in data] if isinstance(data, list) else data


def _from_4(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 4 knew no claims relative to controls, and every primary trial decided its criterion."""
    changed: dict[str, Any] = {"schema_version": 5, "trials": _with_contrasts(content.get("trials"))}
    if isinstance(content.get("criteria"), dict):
        changed["criteria"] = {
            id_: {**criterion, "basis": {}} if isinstance(criterion, dict) else criterion
            for id_, criterion in content["criteria"].items()
        }
    return {**content, **changed}


def _with_contrasts(data: Any) -> Any:
    """The same data with the fields that schema 5 has in trials, cases and measurements."""
    if isinstance(data, list):
        return [_with_contrasts(each) for each in data]
    if not isinstance(data, dict):
        return data
    added: dict[str, Any] = {}
    if "p_against_controls" in data:
        added = {"contrasts": []}
    elif "needed" in data and "above" in data:
        added = {"higher_by": None, "lower_by": None, "by_unit": False, "contrast": None, "profile": []}
    elif "primary" in data:
        added = {"direct": data["primary"], "controls": None}  # a PASS against fewer controls than listed was a PASS
    return {**{key: _with_contrasts(value) for key, value in data.items()}, **added}


def _from_5(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 5 had no distributions, no tables by layer, and no words for controls from outside."""
    return {**content, "schema_version": 6, "distributions": [], "tables": [], "controls": {}}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {3: _from_3, 4: _from_4, 5: _from_5}
"""For every earlier schema that can be read, the function to the next one."""
