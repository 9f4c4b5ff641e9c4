"""Evidence made by hand: a few trials with the outcomes and numbers that a test needs."""

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.distribution import Distribution, LayerQuantiles
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import DESELECTED, ArmResult, Outcome, judge
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.standard_error import StandardError
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.evidence.versions import SOURCE
from pytest_unineuron.options.settings import Settings

FILE = "evals/test_made.py"


def share(value, *, above=0.5, error=None, parts=(), name="share", **more):
    """One claimed measurement. With ``error`` it has an interval and a standard error of 15 degrees of freedom."""
    if error is None:
        return make_measurement(name, value, above=above, **more)
    reach = 2.131 * error
    spread = StandardError(error, 15, 0.0, tuple(map(tuple, parts)))
    return Measurement(name, value, above=above, low=value - reach, high=value + reach, method="made", spread=spread)


def arm(*measurements, outcome=None, reason=None, models=None, corpora=None):
    """The result of an arm with these measurements; its outcome follows from them unless one is given."""
    judged, why = judge(measurements) if measurements else (Outcome.ERROR, "nothing was judged")
    made_from = {"models": models or {"m": "1" * 64}, "corpora": corpora or {"news": "2" * 64}}
    return ArmResult(outcome or judged, reason or why, tuple(measurements), 0.1, (), made_from)


def distribution(statistic="kurtosis", corpus="news", control="", *, at=3.0, layers=3, draw=1, model="m"):
    """A distribution around ``at`` plus the number of the layer, of four units in each."""
    places = [(None, at), *((layer, at + layer) for layer in range(layers))]
    rows = (
        LayerQuantiles(layer, 4, tuple(middle * share for share in (0.5, 0.75, 1, 1.5, 2))) for layer, middle in places
    )
    return Distribution(model, corpus, control, draw, statistic, tuple(rows))


def evidence(
    cases,
    *,
    settings=None,
    asked=None,
    created="2026-11-01T12:00:00+00:00",
    code="c",
    control=0.0,
    primary=False,
    file=FILE,
    **rest,
):
    """Evidence of trials by name. Each of ``cases`` maps (trial, corpus, model) to an arm, or None if it did not run.

    Every case has one control: ``control`` is the share it measures, which misses the bound by default, or its result.
    """
    values = {**Settings().as_dict(), **(settings or {})}
    planned, results = [], {}
    for (trial_id, corpus, model), result in cases.items():
        trial = Trial(trial_id, "GT2", "a claim", "a source", primary=primary)
        for draw in ("", "untrained"):
            case = Case(model, corpus, draw)
            nodeid = f"{file}::test_{trial_id}[{case.id}]"
            planned.append(PlannedItem(nodeid, trial, case, result is not None, line=7, code=code))
            if result is None:
                results[nodeid] = DESELECTED
            else:
                results[nodeid] = (arm(share(control)) if isinstance(control, float) else control) if draw else result
    return build_evidence(
        planned,
        results,
        policy=values["policy"],
        holm=values["holm"],
        accept_vacuous=values["accept_vacuous"],
        settings=values,
        versions={"python": "3", SOURCE: "s"},
        created=created,
        asked=asked or {"paths": ["evals"], "models": ["m"], "corpora": ["prose", "news"]},
        **rest,
    )
