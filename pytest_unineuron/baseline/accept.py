"""Making a report the baseline: what is accepted has to be whole, measured in one piece, and the same elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence.outcome import DESELECTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.evidence.records import Evidence

CHANGING = ("stdlib", "pydoc")
"""Corpora that are another text on another Python."""


def check(evidence: Evidence, *, partial: bool = False) -> None:
    """Raises ReportError, with every reason, for a report that must not become a baseline.

    ``partial`` accepts a run of which trials were deselected on purpose; what was lost is never accepted.
    """
    if reasons := list(_reasons(evidence, partial=partial)):
        raise ReportError("this report cannot be accepted: " + "; ".join(reasons))


def _reasons(evidence: Evidence, *, partial: bool) -> Iterator[str]:
    arms = list(evidence.arms)
    if not arms:
        yield "there is no trial in it; run pytest evals/"
    if evidence.violations:
        yield f"it was locked, and things moved since ({evidence.violations[0]})"
    if evidence.incomplete:
        yield f"results were lost ({evidence.incomplete[0]}); run it again"
    broken = [arm for arm in arms if arm.outcome is Outcome.ERROR]
    if broken:
        yield f"{len(broken)} items broke ({broken[0].nodeid}: {broken[0].reason}); mend them and run again"
    unreached = [arm for arm in arms if arm.outcome is Outcome.NOT_RUN and arm.reason != DESELECTED.reason]
    if unreached:
        yield f"{len(unreached)} items were never reached ({unreached[0].nodeid}); run it to its end"
    deselected = [arm for arm in arms if arm.outcome is Outcome.NOT_RUN and arm.reason == DESELECTED.reason]
    if deselected and not partial:
        yield f"{len(deselected)} items were deselected ({deselected[0].nodeid}); run all of them, or say --partial"
    if (part := evidence.asked.get("part")) and not partial:
        yield f"{', '.join(part)} left items out; run all of them, or say --partial"
    if resumed := sum(arm.resumed for arm in arms):
        yield f"{resumed} results are those of an earlier attempt; run it in one piece (--unineuron-resume=never)"
    changing = [name for name, facts in evidence.corpora.items() if facts.get("spec") in CHANGING]
    changing += [spec for spec in evidence.settings.get("corpus", ()) if spec in CHANGING and spec not in changing]
    if changing:
        yield f"{', '.join(changing)} depends on the version of Python; leave it out (--unineuron-corpus)"


def dropped(before: Evidence, after: Evidence) -> list[str]:
    """The trials × cases that the old baseline holds and the new one would not."""
    return [str(entry) for entry in compare(before, after).entries if entry.after in (None, Outcome.NOT_RUN)]
