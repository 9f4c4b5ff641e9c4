"""The reasons for a verdict in words, written from the recorded numbers, counter-evidence included."""

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


def rationale(model: str, verdict: str, policy: str, trials: Sequence[tuple[str, bool, Outcome, str]]) -> str:
    """One paragraph on one criterion for one model.

    ``trials`` holds (name, is it primary, outcome, reason), at least one. Every trial is named, so that the reader of a
    PASS also reads which trials failed, were vacuous or did not run.
    """
    by_outcome = {outcome: [trial for trial in trials if trial[2] is outcome] for outcome in OUTCOME_WORDS}
    counts = ", ".join(f"{len(found)} {OUTCOME_WORDS[outcome]}" for outcome, found in by_outcome.items() if found)
    effective = effective_policy(policy, any(primary for _, primary, _, _ in trials))
    rule = f"'{effective}'" if effective == policy else f"'{effective}' (no trial is primary)"
    paragraph = [f"{model}: {verdict} under policy {rule}: {counts}."]
    for outcome, found in by_outcome.items():
        if found:
            named = " | ".join(f"{name}{'*' if primary else ''}: {reason}" for name, primary, _, reason in found)
            paragraph.append(f"{OUTCOME_WORDS[outcome].capitalize()}: {named}.")
    return " ".join(paragraph)
