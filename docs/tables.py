"""Tables of the reference, made from what the package declares: no page repeats by hand what code says.

Short ones stand in the pages, between comments with their names, where GitHub shows them too: ``python docs/tables.py``
writes them there. Long ones are put into pages when Sphinx builds them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_unineuron.cli.main import COMMANDS
from pytest_unineuron.controls import CONTROLS
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.models.registry import FAMILIES
from pytest_unineuron.options.settings import OPTIONS, Affects
from pytest_unineuron.plugin import fixtures
from pytest_unineuron.plugin.fixture_table import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def options() -> str:
    """Every option, under the part of a result that it changes."""
    return "\n\n".join(
        f"## {part.value[0].upper()}{part.value[1:]}\n\n"
        + _table(
            ("option", "default", ""),
            ((f"`{each.name}`", _default(each.default), _text(each.help)) for each in OPTIONS if each.affects is part),
        )
        for part in Affects
    )


def fixture_table() -> str:
    """Every fixture: what it returns, and which text it reads."""
    found = {name: each for name, each in vars(fixtures).items() if name.startswith("unineuron_")}
    return _table(
        ("fixture", "", "reads"),
        (
            (f"`{name}`", _first_paragraph(each), FIXTURES[name].text if name in FIXTURES else "–")
            for name, each in found.items()
        ),
    )


def control_table() -> str:
    """Every control: the part of a trial that it replaces, and what it keeps."""
    return _table(
        ("control", "replaces", "", "by default"),
        (
            (f"`{name}`", control.replaces, control.description, "yes" if control.default else "no")
            for name, control in CONTROLS.items()
        ),
    )


def criteria() -> str:
    """The three criteria, with their markers."""
    rows = ((f"`{each.marker}`", each.title, each.question, f"`{each.key}`") for each in CRITERIA.values())
    return _table(("marker", "", "question", "key of the summary"), rows)


def families() -> str:
    """The models whose further seeds are known."""
    rows = (
        (f"`{each.names.replace('|', chr(92) + '|')}`", str(len(each.seeds)))
        for each in FAMILIES.values()
        if each.seeds
    )
    return _table(("models (a regular expression)", "seeds of the family"), rows)


def commands() -> str:
    """The help of every command."""
    parts = []
    for name, _, add_arguments, text in COMMANDS:
        parser = argparse.ArgumentParser(prog=f"pytest-unineuron {name}", description=text, add_help=False)
        add_arguments(parser)
        parts.append(f"## {name}\n\n```text\n{parser.format_help()}```")
    return "\n\n".join(parts)


def schema() -> str:
    """Every field of the report, from its JSON Schema."""
    whole = json.loads(files("pytest_unineuron.evidence").joinpath("schema.json").read_text(encoding="utf-8"))
    parts = {"the report": whole, **whole["definitions"]}
    return "\n\n".join(
        f"## {name.replace('_', ' ')}\n\n{part.get('description', '')}\n\n"
        + _table(
            ("field", "", ""),
            ((f"`{field}`", _type(of), _text(of.get("description", ""))) for field, of in part["properties"].items()),
        )
        for name, part in parts.items()
        if "properties" in part
    )


SHORT = {"fixtures": fixture_table, "controls": control_table, "criteria": criteria, "families": families}
"""What stands in pages between ``<!-- name -->`` and ``<!-- end -->``."""
LONG = {"options": options, "commands": commands, "schema": schema}
"""What a page may name between two pairs of braces."""
PLACE = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def filled(page: str) -> str:
    """The text of a page with its short tables as they should be."""
    return PLACE.sub(lambda found: f"<!-- {found[1]} -->\n\n{SHORT[found[1]]()}\n\n<!-- end -->", page)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "–"
    return "off" if value is False else f"`{value}`" if value else "–"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def _first_paragraph(documented: object) -> str:
    text = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return _text(text).replace("``", "`")


def _type(field: Mapping[str, Any]) -> str:
    """The type of a field in words: ``number or null``, ``list of measurement``."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2].replace("_", " ")
    for key in ("allOf", "oneOf"):
        if key in field:
            return " or ".join(_type(each) for each in field[key])
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field.get("type", "")
    if kind == "array" and isinstance(field.get("items"), dict):
        return f"list of {_type(field['items'])}"
    return kind if isinstance(kind, str) else " or ".join(kind)


if __name__ == "__main__":
    for path in Path(__file__).parent.glob("**/*.md"):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
