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


class NamedCase(NamedTuple):
    """A case in a rationale; ``not_applicable`` is the reason why its trial does not apply to the model."""

    name: str
    primary: bool
    outcome: Outcome
    reason: str
    not_applicable: str = ""


def rationale(
    model: str, verdict: str, basis: str, policy: str, cases: Sequence[NamedCase], *, accept_vacuous: bool = False
) -> str:
    """One paragraph on one criterion for one model, of at least one case; ``basis`` is what the verdict rests on.

    Every case is named, so that the reader of a PASS also reads which cases failed, were vacuous or did not run.
    """
    applying = [case for case in cases if not case.not_applicable]
    by_outcome = {outcome: [case for case in applying if case.outcome is outcome] for outcome in OUTCOME_WORDS}
    counts = [f"{len(found)} {OUTCOME_WORDS[outcome]}" for outcome, found in by_outcome.items() if found]
    effective = effective_policy(policy, any(case.primary for case in cases))
    rule = f"'{effective}'" if effective == policy else f"'{effective}' (no primary trial was collected)"
    rule += ", with vacuous trials counted" if accept_vacuous else ""
    rests_on = f" ({basis})" if basis else ""
    total = f"of {len(applying)} case{'s' * (len(applying) != 1)} "
    found_in = total + ", ".join(counts) if applying else "no trial applies"
    paragraph = [f"{model}: {verdict}{rests_on} under policy {rule}: {found_in}."]
    for outcome, found in by_outcome.items():
        if found:
            named = " | ".join(f"{case.name}{'*' if case.primary else ''}: {case.reason}" for case in found)
            paragraph.append(f"{OUTCOME_WORDS[outcome].capitalize()}: {named}.")
    reasons = dict.fromkeys(case.not_applicable for case in cases if case.not_applicable)
    for reason in reasons:
        names = ", ".join(case.name for case in cases if case.not_applicable == reason)
        paragraph.append(f"Not applicable ({reason}): {names}.")
    return " ".join(paragraph)
