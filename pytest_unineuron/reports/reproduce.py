"""The cases that failed, and for each the command that runs it again with its control arms."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_unineuron.baseline.comparison import CaseState
from pytest_unineuron.evidence.criteria import GT2
from pytest_unineuron.evidence.outcome import EXPECTED_TO_FAIL, Outcome
from pytest_unineuron.options import settings as declared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_unineuron.baseline.comparison import Comparison
    from pytest_unineuron.evidence.outcome import ArmResult
    from pytest_unineuron.evidence.records import CaseRecord, Evidence, RecordedCase


@dataclass(frozen=True)
class FailedCase:
    """One case to be run again. ``kind`` is ``regressed``, ERROR or FAIL; ``nodeid`` is the item that failed."""

    recorded: RecordedCase
    kind: str
    reason: str
    nodeid: str

    @property
    def name(self) -> str:
        """The name of the case: ``heavy_tails[news] on neox-a``."""
        return self.recorded.name

    @property
    def nodeid_of_case(self) -> str:
        """The node id of the subject arm, also if a control failed."""
        return self.recorded.nodeid

    def command(self, evidence: Evidence) -> str:
        """The command that runs the case again."""
        return reproduce_command(evidence, self.recorded)


def failed_cases(evidence: Evidence, comparison: Comparison | None = None) -> list[FailedCase]:
    """Every case that regressed, then those that broke or whose control did, then those that missed their bound.

    Each case is listed once. Cases that are expected to fail are left out. Cases whose test failed are listed even if a
    control makes them VACUOUS.
    """
    strict = evidence.settings.get("fail_on") == "trial"
    regressed = {
        (entry.name, entry.model, entry.variant): entry.reason
        for entry in (comparison.of(CaseState.REGRESSED) if comparison else ())
    }
    by_kind: dict[str, list[FailedCase]] = {str(CaseState.REGRESSED): [], str(Outcome.ERROR): [], str(Outcome.FAIL): []}
    for each in evidence.cases:
        kind, reason, arm = _failure(each.case, strict=strict)
        if why := regressed.get((each.record.name, each.subject.model, each.case.variant)):
            kind, reason = str(CaseState.REGRESSED), why
        if kind:
            by_kind[kind].append(FailedCase(each, kind, reason, arm.nodeid))
    return [failed for kind in by_kind.values() for failed in kind]


def _failure(case: CaseRecord, *, strict: bool) -> tuple[str, str, ArmResult]:
    """The kind of the failure, its reason and the arm that failed; the kind is empty if the case did not fail."""
    own = case.result.subject
    broken = {name: arm for name, arm in case.result.arms.items() if arm.outcome is Outcome.ERROR}
    if broken and case.outcome is not Outcome.ERROR:
        name, arm = next(iter(broken.items()))
        return str(Outcome.ERROR), f"control {name} broke: {arm.reason}", arm
    expected = EXPECTED_TO_FAIL in own.notes
    if case.outcome is Outcome.ERROR or (case.outcome is Outcome.FAIL and not expected):
        return str(case.outcome), case.reason, own
    if strict and own.outcome is Outcome.FAIL and not expected:
        return str(own.outcome), f"{own.reason}; {case.outcome}: {case.reason}", own
    return "", "", own


def reproduce_command(evidence: Evidence, recorded: RecordedCase) -> str:
    """One line for a POSIX shell, or PowerShell, in the folder where pytest was started.

    A case of a parametrized trial is named by the node ids of all its arms; any other by its function, its model
    and its corpus. Every setting that a measurement depends on and that is not at its default is spelled out, also
    where it came from the environment or an ini file.
    """
    settings = dict(evidence.settings)
    nodeids = [arm.nodeid for arm in recorded.arms]
    if not recorded.case.variant:
        nodeids = [_function(nodeids[0])]
        settings |= _chosen(evidence, recorded)
    root, package = (str(evidence.asked.get(name, "")) for name in ("root", "package"))
    typed = [_in_package(package, nodeid) if package else _from_start_folder(root, nodeid) for nodeid in nodeids]
    arguments = [*(["--pyargs"] if package else []), *typed, *_options(settings)]
    return " ".join(["pytest", *map(shlex.quote, arguments)])


NEURONS_BY = {
    "universal": "excess",
    "excess": "excess",
    "matches": "excess",
    "vocabulary": "vocabulary",
    "logit": "vocabulary",
    "single_out": "vocabulary",
    "prediction": "vocabulary",
    "suppression": "vocabulary",
    "kurtosis": "kurtosis",
    "skew": "skew",
    "density": "density",
    "neuron is on": "density",
    "bias": "bias",
}
"""Words in the id of a trial, or the name of what it claims, and the statistic by which its neurons are listed."""
OTHER_UNITS = ("head", "dimension", "residual")
"""Words of trials that are not about neurons."""


def neurons_command(evidence: Evidence, recorded: RecordedCase) -> str:
    """The command that lists the neurons behind a case: the highest, or lowest, in the statistic that it is about.

    It is empty for a trial whose words, or those of what it claims, name no statistic of neurons.
    """
    trial, measured = recorded.record.trial.id, recorded.case.result.subject.measurements
    texts = [(f"{trial} {m.name}", m.lower_by is not None and m.name) for m in measured if m.claimed]
    words = [(word, text, lower) for word in NEURONS_BY for text, lower in texts or [(trial, "")] if word in text]
    found = [(word, lower) for word, text, lower in words if not any(other in text for other in OTHER_UNITS)]
    if not found:
        return ""
    (word, lower), settings, chosen = found[0], evidence.settings, _chosen(evidence, recorded)
    arguments = [*chosen["model"], f"--by={NEURONS_BY[word]}"]
    arguments += ["--lowest"] if lower and word in lower else []
    arguments += [f"--corpus={chosen.get('corpus', [settings.get('reference')])[0]}"]
    arguments += [f"--seed={seed}" for seed in settings.get("seed", ())]
    arguments += [f"--tokens={settings['tokens']}"] if settings.get("tokens") != declared.Settings().tokens else []
    return " ".join(["pytest-unineuron", "neurons", *map(shlex.quote, arguments)])


def _chosen(evidence: Evidence, recorded: RecordedCase) -> dict[str, list[str]]:
    """The settings that choose the model of the case and, if it is on new data, its corpus."""
    asked, settings, corpus = evidence.asked, evidence.settings, recorded.record.corpus
    model, models = recorded.subject.model, asked.get("models", ())
    chosen = {
        "model": [_as_typed(model, models, settings.get("model") or tuple(declared.DEFAULT_MODELS), evidence.models)]
    }
    if corpus and recorded.record.trial.criterion == GT2.id:
        corpora = asked.get("corpora", ())[1:]  # the first is the reference
        chosen["corpus"] = [_as_typed(corpus, corpora, settings.get("corpus", ()), evidence.corpora)]
    specs = (*chosen["model"], *chosen.get("corpus", settings.get("corpus", ())), settings.get("reference"))
    chosen["label"] = [each for each in settings.get("label", ()) if each.partition("=")[2] in specs]
    return chosen


def _function(nodeid: str) -> str:
    path, colons, names = nodeid.partition("::")
    return path + colons + names.partition("[")[0]


def _from_start_folder(root: str, nodeid: str) -> str:
    """The node id, whose path is relative to pytest's root folder, relative to where pytest was started."""
    path, colons, names = nodeid.partition("::")
    return posixpath.normpath(posixpath.join(root, path)) + colons + names


def _in_package(package: str, nodeid: str) -> str:
    """The node id, whose path is relative to a package, as ``--pyargs`` takes it: with the module that it names."""
    path, colons, names = nodeid.partition("::")
    return ".".join([package, *PurePosixPath(path.removesuffix(".py")).parts]) + colons + names


def _as_typed(label: str, labels: Sequence[str], specs: Sequence[str], facts: Mapping[str, Any]) -> str:
    """The text that was typed for a model or corpus: labels and specs pair one by one; else the report may know it."""
    spec_of = dict(zip(labels, specs, strict=True)) if len(labels) == len(specs) else {}
    return str(spec_of.get(label) or facts.get(label, {}).get("spec") or label)


def _options(settings: dict[str, object]) -> Iterator[str]:
    for option in declared.OPTIONS:
        value = settings.get(option.setting, option.default)
        plain = tuple(value) if isinstance(value, list) else value
        if option.affects is declared.Affects.NOTHING or plain == option.default:
            continue
        if isinstance(plain, tuple):
            yield from (f"{option.flag}={each}" for each in plain)
        else:
            yield option.flag if plain is True else f"{option.flag}={plain}"
