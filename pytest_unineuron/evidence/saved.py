"""A saved report, read back into the evidence it was written from.

Outcomes and verdicts are not believed but judged again from the measurements, so nothing in a file can claim
what its numbers do not show.
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
from pytest_unineuron.evidence.case import SUBJECT, Case
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import DESELECTED, ArmResult, Outcome, judge
from pytest_unineuron.evidence.records import SCHEMA_VERSION, Evidence, PlannedItem, build_evidence
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.evidence.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = Path(__file__).parent / "schema.json"
REPORT_HINT = "make one: pytest evals/, then pytest-unineuron accept"


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of the full report."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


@cache
def _validator() -> Any:
    import fastjsonschema

    return fastjsonschema.compile(report_schema(), use_default=False)


def read_report(path: Path, what: str = "report") -> Evidence:
    """The evidence in a report or baseline.

    Raises ReportError for a file that is not there, not whole, of another version, not as the schema says, or
    in which an outcome is not what its measurements come to.
    """
    return evidence_from_report(strict_json.read_json(path, what, REPORT_HINT), f"{what} {path}")


def evidence_from_report(data: dict[str, Any], where: str) -> Evidence:
    """The evidence in the data of a report; ``where`` is what an error calls it. Raises ReportError."""
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ReportError(f"{where}: has no schema_version, so it is not a report of pytest-unineuron; {REPORT_HINT}")
    if version > SCHEMA_VERSION:
        raise ReportError(
            f"{where}: was written by a newer pytest-unineuron (schema {version}, this one reads {SCHEMA_VERSION}); "
            "pip install --upgrade pytest-unineuron"
        )
    if version < SCHEMA_VERSION:
        raise ReportError(f"{where}: is of schema {version}, this version reads {SCHEMA_VERSION}; {REPORT_HINT}")
    content = strict_json.verify_digest(data, where, REPORT_HINT)
    import fastjsonschema

    try:
        _validator()(data)
    except fastjsonschema.JsonSchemaValueException as error:
        raise ReportError(f"{where}: {error.message.removeprefix('data.')}; {REPORT_HINT}") from None
    try:
        date.fromisoformat(content["created"][:10])
    except ValueError:
        raise ReportError(
            f"{where}: was created on no day that there is ({content['created']}); {REPORT_HINT}"
        ) from None
    pairs = list(_arms(content, where))
    if len({planned.nodeid for planned, _ in pairs}) != len(pairs):
        raise ReportError(f"{where}: an item is there twice; {REPORT_HINT}")
    evidence = build_evidence(
        [planned for planned, _ in pairs],
        {planned.nodeid: result for planned, result in pairs},
        policy=content["policy"],
        accept_vacuous=content["accept_vacuous"],
        holm=content["settings"]["holm"],
        settings=content["settings"],
        models=content["models"],
        corpora=content["corpora"],
        forward_passes=content["forward_passes"],
        kept=tuple(content["cache"]["taken_over"]),
        told=tuple(content["cache"]["told"]),
        versions=content["versions"],
        incomplete=tuple(content["incomplete"]),
        violations=tuple(content["lock_violations"]),
        findings=content["original_findings"],
        asked=content["asked"],
        created=content["created"],
    )
    _check(content, report_data(evidence), where)
    return evidence


def _arms(data: dict[str, Any], where: str) -> Iterator[tuple[PlannedItem, ArmResult]]:
    for entry in data["trials"]:
        declared = {key: entry[key] for key in Trial.__dataclass_fields__}
        controls = declared["controls"]
        trial = Trial(**{**declared, "controls": None if controls is None else tuple(controls)})
        for model, subject in entry["subjects"].items():
            for case in subject["cases"]:
                for arm, result in {SUBJECT: case["subject"], **case["controls"]}.items():
                    control, _, draw = arm.partition(".") if arm != SUBJECT else ("", "", "")
                    if draw and not draw.isdecimal():
                        raise ReportError(f"{where}: {arm!r} is no control arm; {REPORT_HINT}")
                    at = Case(model, entry["corpus"], control, int(draw or 1), case["variant"])
                    found = ArmResult.of_dict(result)
                    selected = found.outcome is not Outcome.NOT_RUN or found.reason != DESELECTED.reason
                    yield PlannedItem(found.nodeid, trial, at, selected, entry["line"], entry["code"]), found


def _check(said: dict[str, Any], judged: dict[str, Any], where: str) -> None:
    """Raises ReportError for an outcome or verdict that is not what the measurements come to."""
    for arm in _passing(said):
        if judge([Measurement.of_dict(m) for m in arm["measurements"]])[0] is not Outcome.PASS:
            raise ReportError(
                f"{where}: says PASS for {arm['nodeid']}, which its measurements do not show; {REPORT_HINT}"
            )
    for own, found in zip_longest(_outcomes(said), _outcomes(judged)):
        if own is None or found is None or own[:-1] != found[:-1]:
            raise ReportError(f"{where}: its trials are not in one order, each once; {REPORT_HINT}")
        if own != found:
            what = " on ".join(own[:-1])
            raise ReportError(
                f"{where}: says {own[-1]} for {what}, its measurements come to {found[-1]}; {REPORT_HINT}"
            )
    if _without_words(said) != _without_words(judged):
        raise ReportError(f"{where}: standings, p-values or names are not what its measurements come to; {REPORT_HINT}")


def _passing(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in said["trials"]:
        for subject in entry["subjects"].values():
            for case in subject["cases"]:
                yield from (arm for arm in (case["subject"], *case["controls"].values()) if arm["outcome"] == "PASS")


def _without_words(data: Any) -> Any:
    """The same data without sentences, which a later version may put in other words."""
    if isinstance(data, dict):
        return {key: _without_words(value) for key, value in data.items() if key not in ("reason", "question")}
    return [_without_words(each) for each in data] if isinstance(data, list) else data


def _outcomes(data: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for entry in data["trials"]:
        for model, subject in entry["subjects"].items():
            for case in subject["cases"]:
                yield entry["name"], model, case["outcome"]
            yield entry["name"], model, subject["outcome"]
    for id_, criterion in data["criteria"].items():
        yield id_, "all models", criterion["verdict"]
        for model, verdict in criterion["subjects"].items():
            yield id_, model, verdict
