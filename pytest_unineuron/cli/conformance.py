"""The laws that an extension of each kind has to obey, as sentences and whether they hold. Imports torch when asked."""

from __future__ import annotations

import copy
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pytest_unineuron import controls
from pytest_unineuron.extend import CONTROL, CORPUS, FAMILY, REPORT, STATISTIC, UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.extend import Declaration
    from pytest_unineuron.models.loading.load import LoadedModel

    Laws = Iterator[tuple[str, bool]]

SUBJECT, TEXT, TOKENS = "nano:neox-a", "news", 3000
"""The model and the text on which controls are tried."""


def laws(each: Declaration) -> Laws:
    """Yield every law of an extension's kind and whether it holds. Passes on its errors."""
    if each.kind == CONTROL:
        yield from _CONTROLS[each.facts["replaces"]](each.make)
    else:
        yield from _OTHERS[each.kind](each)


# -- controls ------------------------------------------------------------------------------------------------


def _model_control(make: Callable[..., Any]) -> Laws:
    import torch

    subject = _subject().model
    before, twins = _weights(subject), list[Any]()
    for seed in (1, 1, 2):
        torch.manual_seed(len(twins))  # the generator of the process must make no difference
        twins.append(make(subject, seed))
    first, again, other = map(_weights, twins)
    yield "it returns a model of the same class", all(type(twin) is type(subject) for twin in twins)
    yield "the subject is left as it was", _same(_weights(subject), before)
    yield "the same seed gives the same weights, whatever was drawn before", _same(first, again)
    yield "another seed gives other weights", not _same(first, other)
    yield "it destroys something: its weights are not the subject's", not _same(first, before)
    yield "its model is in evaluation mode", not twins[0].training


def _blocks_control(make: Callable[..., Any]) -> Laws:
    from pytest_unineuron.corpora.blocks import to_blocks
    from pytest_unineuron.corpora.find import find_corpus

    tokenizer = _subject().tokenizer
    blocks = to_blocks(find_corpus(TEXT), tokenizer, context=64, budget=TOKENS)
    before = copy.deepcopy(blocks.blocks)
    first, again, other = (make(blocks, tokenizer, seed).blocks for seed in (1, 1, 2))
    yield "the subject is left as it was", blocks.blocks == before
    yield "the lengths of blocks are kept", [len(b.ids) for b in first] == [len(b.ids) for b in before]
    yield "text and special tokens stay in their places", [b.text_mask for b in first] == [b.text_mask for b in before]
    yield "the same seed gives the same tokens", first == again
    yield "another seed gives other tokens", first != other
    yield "it destroys something: its tokens are not the subject's", first != before


def _labels_control(make: Callable[..., Any]) -> Laws:
    import numpy as np

    layer = np.repeat([0, 1], 50)
    before = layer.copy()
    first, again, other = (np.asarray(make(layer, seed)) for seed in (1, 1, 2))
    yield "the subject is left as it was", np.array_equal(layer, before)
    yield "each label goes to one neuron", sorted(first) == list(range(len(layer)))
    yield "the same seed gives the same neurons", np.array_equal(first, again)
    yield "another seed gives other neurons", not np.array_equal(first, other)
    yield "it destroys something: labels are not where they were", not np.array_equal(first, np.arange(len(layer)))


def _units_control(make: Callable[..., Any]) -> Laws:
    import torch

    from pytest_unineuron.statistics import PRE
    from pytest_unineuron.statistics.moments import Moments

    units = _drawn(200, 8)
    before, numbers = units.clone(), torch.arange(200)
    moments, sizes = {PRE: Moments.of(units, numbers, numbers)}, {PRE: [8]}
    first, again, other = (make(moments, sizes, seed)(PRE, 0, units) for seed in (1, 1, 2))
    yield "the subject is left as it was", torch.equal(units, before)
    yield "it returns as many tokens and units", first.shape == units.shape
    yield "the same seed gives the same units", torch.equal(first, again)
    yield "another seed gives other units", not torch.equal(first, other)
    yield "it destroys something: its units are not the subject's", not torch.equal(first.to(units), units)


_CONTROLS = {
    controls.MODEL: _model_control,
    controls.TEXT: _blocks_control,
    controls.PAIRING: _blocks_control,
    controls.LABELS: _labels_control,
    controls.UNITS: _units_control,
}


# -- statistics, units, corpora, families and reports ------------------------------------------------------


def _statistic(each: Declaration) -> Laws:
    import torch

    kind, values = each.make, _drawn(60, 4)
    before, numbers = values.clone(), torch.arange(60)

    def of(part: slice = slice(None), units: slice = slice(None), values: Any = values) -> Any:
        return kind.of(values[part, units], numbers[part], numbers[part] % 3)

    a, b, c = of(slice(0, 7)), of(slice(7, 8)), of(slice(8, 60))
    nothing = of(slice(0, 0))
    shape = {name: value.shape for name, value in _fields(of()).items()}
    yield (
        "the last axis of every field is the unit, or it holds one number for all",
        all(s == () or s[-1] in (1, 4) for s in shape.values()),
    )
    yield "activations are left as they were", torch.equal(values, before)
    yield "batches add up, however the tokens are cut", _near(a + b + c, of()) and _near(a + (b + c), of())
    yield "the order of batches does not matter", _near(c + a + b, of()) and _near(b + a, a + b)
    yield "a batch without tokens changes nothing", _near(of() + nothing, of()) and _near(nothing + of(), of())
    joined = kind.concat_units([of(units=slice(0, 1)), of(units=slice(1, 4))])
    yield "the statistic of layers side by side is that of all of their units", _near(joined, of())
    half = values.bfloat16()
    yield "half precision is widened before it is summed", _near(of(values=half), of(values=half.float()))


def _units(each: Declaration) -> Laws:
    import torch

    from pytest_unineuron.models.discovery.anatomy import dissect
    from pytest_unineuron.models.weights.weight_view import WeightView
    from pytest_unineuron.universality.kinds import UnitKind
    from pytest_unineuron.universality.units import ComparedModel

    loaded = _subject()
    before, view = _weights(loaded.model), WeightView(loaded, dissect(loaded))
    kind = UnitKind(encoders=each.make, **each.facts)
    first, again = (ComparedModel(view).make_encoding(each.name, kind) for _ in range(2))
    yield "the subject is left as it was", _same(_weights(loaded.model), before)
    yield "the same encoders each time", first.digest == again.digest
    yield "some layer has such units", bool(first.indices)
    values = _drawn(60, ComparedModel(view).site_sizes(kind.site)[index := first.indices[0]])
    kept = values.clone()
    with torch.no_grad():
        units = first.encode(index, values)
        backwards = first.encode(index, values.flip(0)).flip(0)
    yield "it returns as many tokens, [token, unit]", units.dim() == 2 and len(units) == len(values)
    yield "its units are finite", bool(units.isfinite().all())
    yield "activations are left as they were", torch.equal(values, kept)
    yield "the units of a token depend on no other token", torch.allclose(units, backwards, rtol=1e-4, atol=1e-5)


def _report(each: Declaration) -> Laws:
    from pytest_unineuron.evidence.summary import report_data

    evidence, nothing = _evidence()
    before = copy.deepcopy(report_data(evidence))
    first, again = (each.make(evidence) for _ in range(2))
    yield "it returns text", isinstance(first, str)
    yield "the same evidence gives the same text", first == again
    yield "the evidence is left as it was", report_data(evidence) == before
    yield "a run without results has a report too", isinstance(each.make(nothing), str)


def _corpus(each: Declaration) -> Laws:
    from pytest_unineuron.corpora.independence import reason_repetitive

    first, again = each.make(), each.make()
    yield "the same texts each time", first.fingerprint == again.fingerprint
    yield (
        "every document says where it comes from, and of when it is",
        all(document.provenance and document.date for document in first.documents),
    )
    yield "no document is a copy of another", len(first.distinct) == len(first.documents)
    yield "the text does not repeat itself", not reason_repetitive(first)


def _family(each: Declaration) -> Laws:
    seeds = each.facts["seeds"]
    names = [seed.partition("@")[0] for seed in seeds if "{0}" not in seed]
    yield "the pattern matches its own seeds", all(re.fullmatch(each.name, name) for name in names)
    yield "no seed is named twice", len(set(seeds)) == len(seeds)


_OTHERS: dict[str, Callable[[Declaration], Laws]] = {
    STATISTIC: _statistic,
    UNITS: _units,
    CORPUS: _corpus,
    FAMILY: _family,
    REPORT: _report,
}


# -- what they are tried on ----------------------------------------------------------------------------------


def _subject() -> LoadedModel:
    from pytest_unineuron.models.loading.load import load_model
    from pytest_unineuron.models.loading.source import parse_source

    return load_model(parse_source(SUBJECT), dtype="float32", device="cpu", seed=0)


def _drawn(tokens: int, units: int) -> Any:
    """Skewed activations of several scales, [token, unit] float32."""
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    drawn = random.standard_normal((tokens, units)) ** 3 * 10.0 ** (np.arange(units) % 8 - 2)
    return torch.from_numpy(drawn.astype(np.float32))


def _evidence() -> tuple[Evidence, Evidence]:
    """A run with outcomes of several kinds and awkward names, and one of which no item ran."""
    from pytest_unineuron.evidence.build import build_evidence
    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.make_measurement import make_measurement
    from pytest_unineuron.evidence.outcome import ArmResult, Outcome, judge
    from pytest_unineuron.evidence.planned import PlannedItem
    from pytest_unineuron.evidence.trial import Trial
    from pytest_unineuron.options.settings import Settings

    planned, results = [], {}
    for number, (model, value) in enumerate([("m", 0.9), ("<m> & | 'µ'", 0.1), ("broken", None)]):
        for control in ("", "untrained"):
            case = Case(model, "news", control)
            trial = Trial("claim", f"GT{number + 1}", "a claim", "a source", primary=True)
            planned.append(PlannedItem(f"test_it.py::test_{number}[{case.id}]", trial, case))
            if value is None:
                results[planned[-1].nodeid] = ArmResult(Outcome.ERROR, "it broke", (), 0.1, (), {})
            else:
                share = make_measurement("share", 0.0 if control else value, above=0.5)
                results[planned[-1].nodeid] = ArmResult(*judge([share]), (share,), 0.1, (), {})
    settings = Settings().as_dict()
    header = {
        "policy": settings["policy"],
        "settings": settings,
        "versions": {"python": "3"},
        "created": "2026-01-31T12:00:00+00:00",
        "asked": {"paths": ["."], "models": ["m"], "corpora": ["news"]},
    }
    return build_evidence(planned, results, **header), build_evidence(planned, {}, **header)


def _weights(model: Any) -> dict[str, Any]:
    """The parameters and buffers of a model."""
    return {name: value.detach().clone() for name, value in (*model.named_parameters(), *model.named_buffers())}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _fields(statistic: Any) -> dict[str, Any]:
    return {field.name: getattr(statistic, field.name) for field in fields(statistic)}


def _near(one: Any, other: Any) -> bool:
    """Whether the fields of two statistics are equal up to rounding."""
    import torch

    pairs = zip(_fields(one).values(), _fields(other).values(), strict=True)
    return all(
        torch.allclose(a.double().expand_as(b), b.double(), rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs
    )
