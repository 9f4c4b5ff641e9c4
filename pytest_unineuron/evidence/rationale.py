"""Why a verdict is what it is, written from the recorded numbers, counter-evidence included."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def rationale(subject: str, verdict: str, policy: str, trials: Sequence[tuple[str, bool, Outcome, str]]) -> str:
    """One paragraph on one criterion for one subject.

    ``trials`` holds (name, is it primary, outcome, reason). Every trial is named, whatever the verdict, so a
    reader of a PASS also reads what failed, what was vacuous and what never ran.
    """
    if not trials:
        return f"{subject}: {verdict}; no trial was collected."
    counts = ", ".join(
        f"{sum(o is outcome for _, _, o, _ in trials)} {word}"
        for outcome, word in OUTCOME_WORDS.items()
        if any(o is outcome for _, _, o, _ in trials)
    )
    rule = effective_policy(policy, any(primary for _, primary, _, _ in trials))
    rule = f"'{rule}'" if rule == policy else f"'{rule}' (no trial is primary)"
    parts = [f"{subject}: {verdict} under policy {rule}: {counts}."]
    for outcome, word in OUTCOME_WORDS.items():
        named = [f"{name}{'*' if primary else ''}: {reason}" for name, primary, o, reason in trials if o is outcome]
        if named:
            parts.append(f"{word.capitalize()}: " + " | ".join(named) + ".")
    return " ".join(parts)
