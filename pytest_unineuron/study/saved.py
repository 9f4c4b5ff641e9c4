"""A saved report as tables of pandas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pytest_unineuron.errors import ReportError, did_you_mean
from pytest_unineuron.evidence.measurement import BOUND_FIELDS
from pytest_unineuron.evidence.replay import read_evidence
from pytest_unineuron.reports.page import render_frame, render_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import Evidence, RecordedCase

CASE_COLUMNS = ("trial", "corpus", "model", "variant")
"""The columns that name a case, with which every table of cases begins."""
DISTRIBUTION_COLUMNS = ("model", "corpus", "statistic", "arm")
QUANTILES = ("q5", "q25", "q50", "q75", "q95")
MEASURED = ("name", "value", "unit", "low", "high", "method", "p", "note")


def load_report(path: str | Path) -> Report:
    """Return a saved report, or the journal of a run (``.jsonl``), as tables. Raises ReportError if it is unusable."""
    return Report(read_evidence(Path(path).expanduser()))


@dataclass(frozen=True, eq=False)
class Report:
    """A report as tables, each made when first used; a notebook shows its page.

    A control arm is named as in the ids of items (``untrained``, ``untrained.2``); the arm of the model is empty.
    """

    evidence: Evidence

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial and model: outcome, reason, criterion, whether it is primary, claim and source."""
        pairs = [(record, subject) for record in self.evidence.trials for subject in record.subjects]
        rows = [
            {
                "trial": record.trial.id,
                "corpus": record.corpus,
                "model": subject.model,
                "criterion": record.trial.criterion,
                "primary": record.trial.primary,
                "direct": record.trial.direct,
                "outcome": str(subject.outcome),
                "reason": subject.reason,
                "applies": not subject.not_applicable,
                "p": subject.p_value,
                "claim": record.trial.claim,
                "source": record.trial.source,
            }
            for record, subject in pairs
        ]
        return _table(rows, [*CASE_COLUMNS[:3], "criterion", "outcome", "reason"])

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """One row per measured number: arm, name, value, unit, 95 % interval, bounds, and how it compares with them."""
        rows = [
            {
                **case,
                "arm": arm,
                **{f: getattr(m, f) for f in (*MEASURED, *BOUND_FIELDS)},
                "status": str(m.bound_status),
            }
            for case, arm, result in self._arms()
            for m in result.measurements
        ]
        return _table(rows, [*CASE_COLUMNS, "arm", "name", "value"])

    @cached_property
    def controls(self) -> pd.DataFrame:
        """One row per control arm of a case: how the claim fared on it, its outcome, reason and duration."""
        rows = [
            {
                **case,
                "arm": arm,
                "status": str(result.control_status),
                "outcome": str(result.outcome),
                "reason": result.reason,
                "seconds": result.duration,
            }
            for case, arm, result in self._arms()
            if arm
        ]
        return _table(rows, [*CASE_COLUMNS, "arm", "status"])

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """One row per comparison with a control: its value with 95 % interval, p-value, what is claimed, and status.

        The value of a comparison ``by_unit`` is the probability that a unit of the model has a larger value than one of
        the control, else the difference of the two numbers.
        """
        fields = ("measurement", "control", "by_unit", "lower", "value", "low", "high", "p", "claimed")
        rows = [
            {**_case(each), **{f: getattr(c, f) for f in fields}, "status": str(c.status)}
            for each in self.evidence.cases
            for c in each.case.result.contrasts
        ]
        return _table(rows, [*CASE_COLUMNS, *fields])

    @cached_property
    def profiles(self) -> pd.DataFrame:
        """One row per layer of a measurement (``kind`` "value") or of a comparison with a control ("contrast")."""
        return _table(list(self._profile_rows()), [*CASE_COLUMNS, "arm", "kind", "name", "layer", "value"])

    @cached_property
    def distributions(self) -> pd.DataFrame:
        """One row per statistic, arm and layer: how it is distributed over neurons, as quantiles ``q5`` to ``q95``.

        ``layer`` is missing in the row over all layers; ``units`` counts the neurons that have the statistic.
        """
        rows = [
            {
                **{name: getattr(each, name) for name in DISTRIBUTION_COLUMNS},
                "layer": row.layer,
                "units": row.units,
                **dict(zip_longest(QUANTILES, row.quantiles)),
            }
            for each in self.evidence.distributions
            for row in each.rows
        ]
        table = _table(rows, [*DISTRIBUTION_COLUMNS, "layer", "units", *QUANTILES])
        return table.astype({"layer": "Int64"})

    @cached_property
    def models(self) -> pd.DataFrame:
        """One row per model that was read, seeds included: what was typed, class, parameters, neurons and digest."""
        return pd.DataFrame.from_dict(dict(self.evidence.models), orient="index").rename_axis("model")

    def trial(self, name: str) -> Report:
        """Return the report of one trial, by its id or its name with the corpus, ``heavy_tails[news]``.

        Raises ReportError if there is none.
        """
        found = tuple(r for r in self.evidence.trials if name in (r.trial.id, r.name))
        if not found:
            known = [name for r in self.evidence.trials for name in (r.trial.id, r.name)]
            raise ReportError(
                f"trial {name}: there is none in this report{did_you_mean(name, known)}; .trials lists all"
            )
        return Report(replace(self.evidence, trials=found))

    def _repr_html_(self) -> str:
        return render_frame(render_page(self.evidence))

    def _arms(self) -> Iterator[tuple[dict[str, str], str, ArmResult]]:
        """The columns of every case, the name of the arm and its result; the model itself first."""
        for each in self.evidence.cases:
            result = each.case.result
            for arm, found in {"": result.subject, **result.arms}.items():
                yield _case(each), arm, found

    def _profile_rows(self) -> Iterator[dict[str, Any]]:
        for case, arm, result in self._arms():
            for m in result.measurements:
                yield from _layers({**case, "arm": arm, "kind": "value", "name": m.name}, m.profile)
        for each in self.evidence.cases:
            for c in each.case.result.contrasts:
                yield from _layers(
                    {**_case(each), "arm": c.control, "kind": "contrast", "name": c.measurement}, c.profile
                )


def _case(each: RecordedCase) -> dict[str, str]:
    values = (each.record.trial.id, each.record.corpus, each.subject.model, each.case.variant)
    return dict(zip(CASE_COLUMNS, values, strict=True))


def _layers(columns: dict[str, Any], profile: Iterable[tuple[int, float | None]]) -> Iterator[dict[str, Any]]:
    yield from ({**columns, "layer": layer, "value": value} for layer, value in profile)


def _table(rows: list[dict[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """The rows as a table, which has these columns also without rows."""
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))
