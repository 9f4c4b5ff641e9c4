"""The reasons for a verdict in words, written from the recorded numbers, counter-evidence included."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import effective_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTCOME_WORDS = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.VACUOUS: "vacuous (a null shows it too)",
    Outcome.NA: "not decided",
    Outcome.ERROR: "broke",
    Outcome.NOT_RUN: "not run",
}


class NamedTrial(NamedTuple):
    """A trial in a rationale; ``not_applicable`` is the reason why it does not apply to the model."""

    name: str
    primary: bool
    outcome: Outcome
    reason: str
    not_applicable: str = ""


def rationale(
    model: str, verdict: str, basis: str, policy: str, trials: Sequence[NamedTrial], *, accept_vacuous: bool = False
) -> str:
    """One paragraph on one criterion for one model, of at least one trial; ``basis`` is what the verdict rests on.

    Every trial is named, so that the reader of a PASS also reads which trials failed, were vacuous or did not run.
    """
    applying = [trial for trial in trials if not trial.not_applicable]
    by_outcome = {outcome: [trial for trial in applying if trial.outcome is outcome] for outcome in OUTCOME_WORDS}
    counts = [f"{len(found)} {OUTCOME_WORDS[outcome]}" for outcome, found in by_outcome.items() if found]
    effective = effective_policy(policy, any(trial.primary for trial in trials))
    rule = f"'{effective}'" if effective == policy else f"'{effective}' (no primary trial was collected)"
    rule += ", with vacuous trials counted" if accept_vacuous else ""
    rests_on = f" ({basis})" if basis else ""
    paragraph = [f"{model}: {verdict}{rests_on} under policy {rule}: {', '.join(counts) or 'no trial applies'}."]
    for outcome, found in by_outcome.items():
        if found:
            named = " | ".join(f"{trial.name}{'*' if trial.primary else ''}: {trial.reason}" for trial in found)
            paragraph.append(f"{OUTCOME_WORDS[outcome].capitalize()}: {named}.")
    reasons = dict.fromkeys(trial.not_applicable for trial in trials if trial.not_applicable)
    for reason in reasons:
        names = ", ".join(trial.name for trial in trials if trial.not_applicable == reason)
        paragraph.append(f"Not applicable ({reason}): {names}.")
    return " ".join(paragraph)
