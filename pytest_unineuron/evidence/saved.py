"""Reads a saved report back into the evidence from which it was written.

Outcomes and verdicts are computed again from the measurements, so that a file cannot claim what its numbers do not
show.
"""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import strict_json
from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import SUBJECT, Case
from pytest_unineuron.evidence.distribution import Distribution
from pytest_unineuron.evidence.layer_table import LayerTable
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import DESELECTED, ArmResult, Outcome, judge
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.records import SCHEMA_VERSION, Evidence
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.evidence.upgrade import UPGRADES, upgraded

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_FILE = Path(__file__).parent / "schema.json"
SENTENCES = ("reason", "question", "basis")
REPORT_HINT = "make one: pytest evals/, and for a baseline pytest-unineuron accept --baseline FILE"


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of the full report."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


@cache
def _validator() -> Any:
    import fastjsonschema

    return fastjsonschema.compile(report_schema(), use_default=False)


def read_report(path: Path, kind: str = "report") -> Evidence:
    """The evidence in a report file; ``kind`` is the word for the file in errors, such as "baseline".

    Raises ReportError for a file that is missing, damaged, of another version or not as the schema says, and for one
    whose outcomes do not follow from its measurements.
    """
    return evidence_from_report(strict_json.read_json(path, kind, REPORT_HINT), f"{kind} {path}")


def evidence_from_report(data: dict[str, Any], where: str) -> Evidence:
    """The evidence in the data of a report, digest included; ``where`` names the file in errors. Raises ReportError."""
    _check_version(data, where)
    content = upgraded(strict_json.verify_digest(data, where, REPORT_HINT))
    _check_schema({**content, strict_json.DIGEST_KEY: data[strict_json.DIGEST_KEY]}, where)
    pairs = list(_items_with_results(content, where))
    if len({item.nodeid for item, _ in pairs}) != len(pairs):
        raise _unusable(where, "lists an item twice")
    evidence = build_evidence(
        [item for item, _ in pairs],
        {item.nodeid: result for item, result in pairs},
        policy=content["policy"],
        accept_vacuous=content["accept_vacuous"],
        holm=content["settings"]["holm"],
        settings=content["settings"],
        models=content["models"],
        corpora=content["corpora"],
        forward_passes=content["forward_passes"],
        cache_hits=tuple(content["cache"]["hits"]),
        cache_notes=tuple(content["cache"]["notes"]),
        distributions=tuple(map(Distribution.of_dict, content["distributions"])),
        tables=tuple(map(LayerTable.of_dict, content["tables"])),
        versions=content["versions"],
        controls=content["controls"],
        incomplete=tuple(content["incomplete"]),
        violations=tuple(content["lock_violations"]),
        findings=content["original_findings"],
        asked=content["asked"],
        created=content["created"],
    )
    _check_derived(content, report_data(evidence), where)
    return evidence


def _unusable(where: str, problem: str) -> ReportError:
    return ReportError(f"{where}: {problem}; {REPORT_HINT}")


def _check_version(data: dict[str, Any], where: str) -> None:
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise _unusable(where, "has no schema_version, so it is not a report of pytest-unineuron")
    if version > SCHEMA_VERSION:
        raise ReportError(
            f"{where}: was written by a newer pytest-unineuron (schema {version}, this one reads {SCHEMA_VERSION}); "
            "pip install --upgrade pytest-unineuron"
        )
    if version < min(UPGRADES):
        raise _unusable(where, f"is of schema {version}, this version reads {min(UPGRADES)} to {SCHEMA_VERSION}")


def _check_schema(data: dict[str, Any], where: str) -> None:
    import fastjsonschema

    try:
        _validator()(data)
    except fastjsonschema.JsonSchemaValueException as error:
        raise _unusable(where, error.message.removeprefix("data.")) from None
    try:
        date.fromisoformat(data["created"][:10])
    except ValueError:
        raise _unusable(where, f"was created on a day that does not exist ({data['created']})") from None


def _items_with_results(content: dict[str, Any], where: str) -> Iterator[tuple[PlannedItem, ArmResult]]:
    for entry in content["trials"]:
        trial = Trial.of_dict(entry)
        for model, subject in entry["subjects"].items():
            for case in subject["cases"]:
                for arm, stored in {SUBJECT: case["subject"], **case["controls"]}.items():
                    control, _, draw = arm.partition(".") if arm != SUBJECT else ("", "", "")
                    if draw and not draw.isdecimal():
                        raise _unusable(where, f"{arm!r} is not a control arm")
                    place = Case(model, entry["corpus"], control, int(draw or 1), case["variant"])
                    result = ArmResult.of_dict(stored)
                    selected = result.outcome is not Outcome.NOT_RUN or result.reason != DESELECTED.reason
                    yield PlannedItem(result.nodeid, trial, place, selected, entry["line"], entry["code"]), result


def _check_derived(stored: dict[str, Any], derived: dict[str, Any], where: str) -> None:
    """Raises ReportError unless the stored outcomes and verdicts are those derived from the measurements."""
    for arm in _passing_arms(stored):
        if judge([Measurement.of_dict(m) for m in arm["measurements"]])[0] is not Outcome.PASS:
            raise _unusable(where, f"says PASS for {arm['nodeid']}, which its measurements do not show")
    for said, found in zip_longest(_outcomes(stored), _outcomes(derived)):
        if said is None or found is None or said[:-1] != found[:-1]:
            raise _unusable(where, "does not list its trials in order, each once")
        if said != found:
            place = " on ".join(said[:-1])
            raise _unusable(where, f"says {said[-1]} for {place}, its measurements come to {found[-1]}")
    if _without_sentences(stored) != _without_sentences(derived):
        raise _unusable(where, "holds statuses, p-values or names that do not follow from its measurements")


def _passing_arms(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in content["trials"]:
        for subject in entry["subjects"].values():
            for case in subject["cases"]:
                yield from (arm for arm in (case["subject"], *case["controls"].values()) if arm["outcome"] == "PASS")


def _without_sentences(data: Any) -> Any:
    """The same data without sentences, which another version may word differently."""
    if isinstance(data, dict):
        return {key: _without_sentences(value) for key, value in data.items() if key not in SENTENCES}
    return [_without_sentences(each) for each in data] if isinstance(data, list) else data


def _outcomes(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The name, the model and the outcome of every case and trial, then the verdicts."""
    for entry in content["trials"]:
        for model, subject in entry["subjects"].items():
            for case in subject["cases"]:
                yield entry["name"], model, case["outcome"]
            yield entry["name"], model, subject["outcome"]
    for id_, criterion in content["criteria"].items():
        yield id_, "all models", criterion["verdict"]
        for model, verdict in criterion["subjects"].items():
            yield id_, model, verdict
